"""Tables of image-level labels as people keep them: spreadsheets and CSV files of any kind."""
