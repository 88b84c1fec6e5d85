//! Bad files, each with its expected report.
