//! Tests of Sarsen as a whole: see the files in this folder.
