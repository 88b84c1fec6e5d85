//! Both protocols against servers that are played in virtual time.

mod channels;
mod lists;
mod world;
