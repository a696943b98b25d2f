"""What every room uses: errors, checks, catalogues, random streams, scaled numbers. Knows no other room."""
