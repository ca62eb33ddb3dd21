"""Changes of a workspace's settings in tests."""

from studies.workspace import Workspace


def rewrite(workspace: Workspace, old: str, new: str) -> Workspace:
    """The same workspace after a change of its study.toml."""
    path = workspace.root / "study.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return Workspace(workspace.root)
