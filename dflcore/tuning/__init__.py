"""What fits this machine: arithmetic and memory layout by measurement, memory before it is asked for, what to lower."""
