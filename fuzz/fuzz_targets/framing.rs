#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| capcast_fuzz::fuzzing::run("framing", bytes));
