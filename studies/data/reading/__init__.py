"""The reading of files: CSV files in any of the usual forms, and Parquet files."""
