"""What a person launches: the study configuration, the two studies and the command line."""
