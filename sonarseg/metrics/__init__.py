"""Measures of quality, from accumulated counts; numpy only, so that reports can import them."""
