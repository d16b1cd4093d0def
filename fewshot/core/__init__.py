"""The ground floor: errors, arrays, registries, provenance and progress; imports nothing of ours."""
