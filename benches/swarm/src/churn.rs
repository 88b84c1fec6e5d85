//! Viewers that come and go beside those that are measured.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::crew::{Crew, sleep_until};
use crate::peer::Plan;
use crate::{Sessions, View};

/// How long each group of a second's viewers stays after the last of it has come.
const STAY: Duration = Duration::from_millis(500);

/// What became of them.
#[derive(Debug, Default, Serialize)]
pub struct Churned {
    came: usize,
    /// Saw a picture, or heard sound where there is no more.
    saw: usize,
    /// Could not join, or were thrown out.
    failed: usize,
}

/// Runs until its end.
pub struct Churn(Option<JoinHandle<Churned>>);

/// Has `--churn` viewers come each second until `end`; each second's leave together, by DELETE.
pub fn start(args: &View, end: Instant) -> Result<Churn> {
    if args.churn == 0 {
        return Ok(Churn(None));
    }
    let sessions =
        Sessions { count: args.churn, rate: args.churn as f64, threads: 1, ..args.sessions.clone() };
    let (codecs, whep, streams) = (args.codecs.clone(), args.whep.clone(), args.streams.max(1));
    let one = move |n: usize| -> Result<Churned> {
        let plan = Plan::View { codecs: codecs.clone() };
        let crew = Crew::start(plan, &whep, &sessions, Duration::from_millis(1))?;
        crew.join(&sessions, |i| whep.replace("{n}", &((n + i) % streams).to_string()));
        sleep_until(Instant::now() + STAY);
        let (saw, failed) = (crew.ready(), crew.failed());
        drop(crew.stop());
        Ok(Churned { came: sessions.count, saw, failed })
    };
    let all = move || {
        thread::scope(|scope| {
            let mut groups = Vec::new();
            let mut next = Instant::now();
            while next < end && sleep_until(next) {
                let (n, one) = (groups.len(), &one);
                groups.push(scope.spawn(move || one(n)));
                next += Duration::from_secs(1);
            }
            let mut sum = Churned::default();
            for group in groups {
                match group.join().expect("a group panicked") {
                    Ok(one) => {
                        sum.came += one.came;
                        sum.saw += one.saw;
                        sum.failed += one.failed;
                    }
                    Err(error) => eprintln!("swarm: {error:#}"),
                }
            }
            sum
        })
    };
    Ok(Churn(Some(thread::Builder::new().name("swarm-churn".into()).spawn(all)?)))
}

impl Churn {
    /// Waits for the last to leave; `None` where nobody was to come.
    pub fn finish(self) -> Option<Churned> {
        Some(self.0?.join().expect("churn panicked"))
    }
}
