"""What commands write once trials are done: reports, scores, maps."""
