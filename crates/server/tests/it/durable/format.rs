//! Directories that earlier releases wrote.
