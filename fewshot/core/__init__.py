"""The ground floor: errors, arrays, files, devices, registries, provenance, progress; imports nothing of ours."""
