"""What every room uses: records, errors, files, progress; neither numpy nor torch."""
