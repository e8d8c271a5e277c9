//! One release: what its pods count, and when the controller is woken for it.

use super::scrape::Target;
use super::*;
use crate::worker::signals::Signals as Counters;

fn counters(ok: u64, error: u64) -> Counters {
    Counters { ok, error, answers: ok + error, ..Counters::default() }
}

fn watch(revision: &str, persisted: Share) -> Watch {
    Watch {
        object: ObjectRef::new("r").within("n"),
        interval: Duration::from_secs(5),
        stale_after: Duration::from_secs(10),
        targets: BTreeMap::from([(revision.to_owned(), BTreeMap::from([("p".to_owned(), "http://x".to_owned())]))]),
        judged: Judged {
            key: format!("{revision}/1"),
            revision: revision.to_owned(),
            tests: vec![Test {
                gate: "g".to_owned(),
                objective: "errors".to_owned(),
                signal: Signal::ErrorRate,
                threshold_ms: None,
                max: 0.05,
                alpha: 0.05,
                persisted,
            }],
        },
        step: None,
        every_scrape: false,
        ready: BTreeMap::new(),
    }
}

fn total(entry: &Entry) -> Share {
    entry.sums().into_values().next().unwrap()
}

#[tokio::test]
async fn a_release_that_went_without_a_last_pass_is_watched_no_more() {
    let signals = Signals::new(mpsc::channel(1).0).unwrap();
    let named = |name: &str| Watch {
        object: ObjectRef::new(name).within("n"),
        targets: BTreeMap::new(),
        ..watch("a", Share { answers: 9, bad: 0 })
    };
    signals.watch("uid-r", Some(named("r")));
    signals.watch("uid-s", Some(named("s")));
    signals.forget("other", "s");
    signals.forget("n", "r");
    let watched: Vec<String> = lock(&signals.watched).keys().cloned().collect();
    assert_eq!(watched, ["uid-s"]);
}

#[test]
fn sums_go_on_from_the_persisted_ones_and_survive_a_counter_reset() {
    let mut entry = Entry::new(watch("a", Share { answers: 900, bad: 9 }), Arc::default());
    let now = Instant::now();
    entry.take("a", "p", counters(500, 5), now, now);
    assert_eq!(total(&entry), Share { answers: 900, bad: 9 }, "the first sight is only a mark");
    entry.take("a", "p", counters(590, 15), now, now);
    assert_eq!(total(&entry), Share { answers: 1_000, bad: 19 });
    entry.take("a", "p", counters(10, 0), now, now);
    assert_eq!(total(&entry), Share { answers: 1_010, bad: 19 }, "a restarted pod counts from 0");
}

#[test]
fn another_key_begins_anew_and_the_same_key_does_not() {
    let mut entry = Entry::new(watch("a", Share::default()), Arc::default());
    let now = Instant::now();
    entry.take("a", "p", counters(0, 0), now, now);
    entry.take("a", "p", counters(100, 0), now, now);
    entry.change(watch("a", Share { answers: 100, bad: 0 }));
    assert_eq!(total(&entry).answers, 100, "what was persisted in between is not counted twice");
    let mut other = watch("a", Share::default());
    other.judged.key = "a/2".to_owned();
    entry.change(other);
    assert_eq!(total(&entry).answers, 0);
}

#[test]
fn a_settled_release_wakes_the_controller_only_for_a_breach_or_after_five_minutes() {
    let mut entry = Entry::new(watch("a", Share::default()), Arc::default());
    let now = Instant::now();
    entry.woken_at = Some(now);
    entry.take("a", "p", counters(0, 0), now, now);
    entry.take("a", "p", counters(1_000, 0), now, now);
    assert!(!entry.worth_a_pass(now));
    entry.take("a", "p", counters(1_000, 400), now, now);
    assert!(entry.worth_a_pass(now));
}

#[test]
fn a_breach_is_told_at_every_scrape_until_a_pass_has_looked_at_it_in_full() {
    let mut entry = Entry::new(watch("a", Share::default()), Arc::default());
    let now = Instant::now();
    entry.woken_at = Some(now);
    entry.take("a", "p", counters(0, 0), now, now);
    entry.take("a", "p", counters(600, 400), now, now);
    assert!(entry.worth_a_pass(now) && entry.worth_a_pass(now), "its passes fail");
    entry.let_be = true;
    assert!(!entry.worth_a_pass(now), "nothing may act on it");
    entry.take("a", "p", counters(50_600, 400), now, now);
    assert!(!entry.worth_a_pass(now), "it is over");
    entry.take("a", "p", counters(50_600, 50_400), now, now);
    assert!(entry.worth_a_pass(now), "another one");
}

#[test]
fn an_answer_that_was_asked_for_before_the_watch_began_anew_is_left_out() {
    let (wake, _woken) = mpsc::channel(1);
    let changed = Arc::new(Notify::new());
    let entry = Entry::new(watch("a", Share::default()), Arc::default());
    let watched = Arc::new(Mutex::new(HashMap::from([("u".to_owned(), entry)])));
    let http = reqwest::Client::builder();
    let http = http.tls_backend_preconfigured(no_certificates().unwrap()).build().unwrap();
    let ended = ScrapeTask { uid: "u".to_owned(), watched: watched.clone(), wake, http, changed };
    let pod = Target { revision: "a".to_owned(), uid: "p".to_owned(), address: "http://x".to_owned() };
    assert_eq!(ended.take(vec![(pod, Ok(counters(1, 0)))], Instant::now()), None);
    assert!(lock(&watched).get("u").unwrap().pods.is_empty());
}

#[test]
fn without_traffic_a_settled_release_never_wakes_the_controller() {
    let mut entry = Entry::new(watch("a", Share { answers: 7, bad: 0 }), Arc::default());
    assert!(!entry.worth_a_pass(Instant::now()));
}

#[test]
fn answers_of_the_weight_before_do_not_count_at_the_next() {
    let step = |key: &str| {
        Some(StepWindow {
            key: key.to_owned(),
            stable: None,
            candidate: "a".to_owned(),
            persisted_stable: 0,
            persisted_candidate: 0,
        })
    };
    let with = |key: &str| Watch { step: step(key), ..watch("a", Share::default()) };
    let mut entry = Entry::new(with("a/1/x"), Arc::default());
    let before = Instant::now();
    entry.take("a", "p", counters(100, 0), before, before);
    entry.take("a", "p", counters(300, 0), before, before);
    assert_eq!(entry.step_candidate.answers, 200);
    entry.change(with("a/2/y"));
    assert_eq!(entry.step_candidate.answers, 0);
    let after = entry.step_since;
    entry.take("a", "p", counters(900, 0), after, after);
    assert_eq!(entry.step_candidate.answers, 0, "600 answers, some of them at the weight before");
    entry.take("a", "p", counters(950, 0), after, after);
    assert_eq!(entry.step_candidate.answers, 50);
    assert_eq!(total(&entry).answers, 850, "the objectives' sums run on");
}
