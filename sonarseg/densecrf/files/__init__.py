"""Dense CRF refinement of score files on disk, without a survey or a study."""
