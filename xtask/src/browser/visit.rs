//! Opens a page and listens until it has said its last word.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::chromium::Chromium;
use super::server::{Report, Server, Site};

/// How often a silent browser is looked after.
const TICK: Duration = Duration::from_millis(250);

/// Opens `page` of the site and returns what it reports as its result. Each line of progress goes
/// to `on_log`.
///
/// # Errors
/// There is no browser, the browser ended, the page reported a failure, or the page was silent for
/// longer than `quiet`.
pub fn visit(
    site: Site,
    page: &str,
    quiet: Duration,
    mut on_log: impl FnMut(&str),
) -> Result<String> {
    let server = Server::start(site)?;
    let mut chromium = Chromium::open(&server.url(page))?;
    let mut last_heard = Instant::now();
    loop {
        match server.reports.recv_timeout(TICK) {
            Ok(Report::Log(line)) => on_log(&line),
            Ok(Report::Done(result)) => return Ok(result),
            Ok(Report::Failed(reason)) => bail!("{page}: {reason}"),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = chromium.ended() {
                    bail!("the browser ended ({status}):{}", chromium.last_words());
                }
                if last_heard.elapsed() > quiet {
                    let words = chromium.last_words();
                    bail!("{page}: silent for {} s; the browser:{words}", quiet.as_secs());
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the server on localhost ended"),
        }
        last_heard = Instant::now();
    }
}
