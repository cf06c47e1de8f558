//! The command line as its users see it: help, exit codes, messages, and what it leaves behind.

mod bad_input;
mod bombs;
mod broken;
mod cluster;
mod compression;
mod formats;
mod generate;
mod harness;
mod help;
mod interop;
mod run;
mod streaming;
mod tables;
mod tera;
mod verify;
