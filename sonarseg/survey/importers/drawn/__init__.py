"""Areas that people drew in other programs: labelme, CVAT, COCO files, Label Studio."""
