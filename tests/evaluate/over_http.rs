//! Arms behind HTTP: how they are asked, and what is made of answers that do not come or do not fit.

use super::*;

/// A small `rag serve`: for "question NNN" it gives the chunks that `answer` names.
#[derive(Clone)]
struct Arm {
    revision: &'static str,
    documents: u64,
    chunks: u64,
    answer: Arc<dyn Fn(&str) -> Answer + Send + Sync>,
    /// What it answers about its domains; an arm of an older program knows no such call.
    domains: Option<(u16, Value)>,
    asked: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    refused: Arc<AtomicUsize>,
}

enum Answer {
    Hits(Vec<(String, f64)>),
    From(&'static str),
    Status(u16),
}

impl Arm {
    fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            revision: "0123456789",
            documents: 10,
            chunks: 10,
            answer: Arc::new(answer),
            domains: None,
            asked: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Serves in a thread of its own until the process ends; gives the address.
    fn serve(&self) -> String {
        let arm = self.clone();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new()
                    .route("/handbook/v1/revision", get(revision))
                    .route("/handbook/v1/search", post(search))
                    .route("/handbook/v1/domains", get(domains))
                    .with_state(arm);
                axum::serve(listener, router).await.unwrap();
            });
        });
        format!("http://{}/handbook", receive.recv().unwrap())
    }
}

async fn revision(State(arm): State<Arm>) -> Response {
    // The first call meets a Service that is not ready yet.
    if arm.refused.fetch_add(1, Ordering::SeqCst) == 0 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut answer = json!({
        "revision": arm.revision, "version": "handbook/v1", "contentDigest": "c0ffee", "fingerprint": "f1",
        "retrieval": {}, "documents": arm.documents, "chunks": arm.chunks,
    });
    if arm.domains.is_some() {
        answer["domains"] = json!(true);
    }
    Json(answer).into_response()
}

async fn domains(State(arm): State<Arm>) -> Response {
    arm.asked.lock().unwrap().entry("domains".to_owned()).or_default().push(Value::Null);
    let (status, body) = arm.domains.unwrap_or((404, Value::Null));
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

async fn search(State(arm): State<Arm>, Json(body): Json<Value>) -> Response {
    let query = body["query"].as_str().unwrap().to_owned();
    let k = usize::try_from(body["k"].as_u64().unwrap()).unwrap();
    let earlier = {
        let mut asked = arm.asked.lock().unwrap();
        let all = asked.entry(query.clone()).or_default();
        all.push(body);
        all.len()
    };
    let answer = |revision: &str, hits: Vec<(String, f64)>| {
        let results: Vec<Value> = hits
            .into_iter()
            .enumerate()
            .take(k)
            .map(|(i, (document, score))| json!({"id": format!("{document}#{i}"), "document": document, "score": score, "text": "t", "title": "", "metadata": {}}))
            .collect();
        Json(json!({"revision": revision, "results": results, "took_ms": 1})).into_response()
    };
    match (arm.answer)(&query) {
        Answer::Hits(hits) => answer(arm.revision, hits),
        Answer::From(revision) => answer(revision, Vec::new()),
        Answer::Status(503) if earlier > 2 => answer(arm.revision, Vec::new()),
        Answer::Status(status) => {
            let problem = Json(json!({"title": "No", "status": status, "detail": "the encoder is away"}));
            (StatusCode::from_u16(status).unwrap(), problem).into_response()
        }
    }
}

fn relevant_at(rank: usize) -> impl Fn(&str) -> Answer {
    move |query| {
        let number = query.rsplit(' ').next().unwrap().to_owned();
        let hit = |i: usize| (if i == rank { format!("d{number}") } else { format!("x{i}") }, 1.0 / i as f64);
        Answer::Hits((1..=10).map(hit).collect())
    }
}

#[test]
fn an_arm_behind_http_is_asked_as_the_evaluation_port_wants() {
    let place = Place::new(150);
    let arm = Arm { chunks: 25, ..Arm::new(relevant_at(2)) };
    let url = arm.serve();
    let saved = place.path("saved.run");
    let output = place.evaluate(&[
        "--output",
        "json",
        "--candidate",
        &url,
        "--metric",
        "ndcg@5:floor=0.6",
        "--metric",
        "recall@3:floor=0.9",
        "--write-run",
        saved.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 0, "{} {}", out(&output), err(&output));
    let found = summary(&output);
    assert_eq!(found["metrics"][0]["candidate"], json!(0.630_93));
    assert_eq!(found["queries"]["answeredByCandidate"], json!(150));
    let asked = arm.asked.lock().unwrap();
    assert_eq!(asked.len(), 150);
    // 11 documents, 5 of which the metrics need, of at most 3 chunks each.
    assert_eq!(asked["question 007"], [json!({"query": "question 007", "k": 33, "noCache": true})]);
    // The saved run gives the same figures.
    let again = place.evaluate(&[
        "--output",
        "json",
        "--candidate",
        saved.to_str().unwrap(),
        "--metric",
        "ndcg@5:floor=0.6",
        "--metric",
        "recall@3:floor=0.9",
    ]);
    assert_eq!(summary(&again)["metrics"], found["metrics"]);
    assert_eq!(std::fs::read_to_string(&saved).unwrap().lines().next().unwrap(), "q000 Q0 x1 1 1 rag");
}

#[test]
fn two_arms_behind_http_are_compared() {
    let place = Place::new(150);
    let (first, third) = (Arm::new(relevant_at(1)).serve(), Arm::new(relevant_at(3)).serve());
    let judge = |candidate: &str, baseline: &str| {
        let output = place.evaluate(&[
            "--output",
            "json",
            "--candidate",
            candidate,
            "--baseline",
            baseline,
            "--metric",
            "mrr@10:margin=0.02",
        ]);
        (code(&output), summary(&output)["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(judge(&first, &third), (0, "Superior".to_owned()));
    assert_eq!(judge(&third, &first), (1, "RegressionProven".to_owned()));
    assert_eq!(judge(&first, &first), (0, "NonInferior".to_owned()));
}

#[test]
fn progress_goes_to_stderr_in_the_form_that_was_asked_for() {
    let place = Place::new(20);
    let (first, second) = (Arm::new(relevant_at(1)).serve(), Arm::new(relevant_at(1)).serve());
    let judge = |flags: &[&str]| {
        let arms = ["--candidate", &first, "--baseline", &second, "--metric", "mrr", "--output", "json"];
        let output = place.evaluate(&[&arms[..], flags].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        (summary(&output)["inputs"].clone(), err(&output))
    };
    let (inputs, said) = judge(&["--progress", "json"]);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last: Vec<&Value> = lines.iter().filter(|line| line["done"] == line["total"]).collect();
    assert_eq!(last.len(), 2, "{said}");
    for (line, step) in last.into_iter().zip(["candidate", "baseline"]) {
        assert!(line["perSecond"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!((&line["step"], &line["total"], &line["secondsLeft"]), (&json!(step), &json!(20), &json!(0.0)));
    }
    // What has no terminal has no bar, and 20 questions are done before the first line is due.
    for flags in [&["--progress", "none"][..], &["--progress", "plain"], &["--progress", "bar"], &[]] {
        assert_eq!(judge(flags), (inputs.clone(), String::new()), "{flags:?}");
    }
    let refused = place.evaluate(&["--candidate", &first, "--metric", "mrr", "--progress", "dots"]);
    assert!(code(&refused) == 64 && err(&refused).contains("write bar, plain, json or none"), "{}", err(&refused));
}

#[test]
fn chunks_fold_into_documents_and_more_are_asked_when_they_cluster() {
    let place = Place::new(1);
    // 30 chunks of one document come first.
    let arm = Arm {
        documents: 10,
        chunks: 10,
        ..Arm::new(|_| {
            let clustered = (0..30).map(|i| ("x".to_owned(), 1.0 - f64::from(i) / 100.0));
            Answer::Hits(clustered.chain([("d000".to_owned(), 0.5), ("y".to_owned(), 0.4)]).collect())
        })
    };
    let url = arm.serve();
    let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
    assert_eq!(summary(&output)["metrics"][0]["candidate"], json!(0.5), "{}", out(&output));
    let ks: Vec<u64> = arm.asked.lock().unwrap()["question 000"].iter().map(|b| b["k"].as_u64().unwrap()).collect();
    assert_eq!(ks, [11, 22, 44]);
}

#[test]
fn an_answer_503_is_tried_again_and_an_error_that_stays_is_no_answer() {
    let place = Place::new(100);
    let one_fails = |status: u16, failing: usize| {
        let arm = Arm::new(move |query: &str| {
            let number: usize = query.rsplit(' ').next().unwrap().parse().unwrap();
            if number < failing { Answer::Status(status) } else { relevant_at(1)(query) }
        });
        let url = arm.serve();
        let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
        (code(&output), summary(&output))
    };
    let (exit, found) = one_fails(503, 3);
    assert_eq!((exit, &found["queries"]["answeredByCandidate"]), (0, &json!(100)), "{found}");
    let (exit, found) = one_fails(500, 1);
    assert_eq!((exit, &found["queries"]["answeredByCandidate"]), (0, &json!(99)), "{found}");
    assert_eq!(found["metrics"][0]["candidate"], json!(0.99), "an unanswered query counts 0");
    let (exit, found) = one_fails(500, 2);
    assert_eq!((exit, &found["reason"]), (4, &json!("LowCoverage")));
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("2 of 100 queries got no answer from the candidate"), "{message}");
    assert!(message.contains("Query `q000`: answered 500: the encoder is away"), "{message}");
}

#[test]
fn an_answer_from_another_revision_ends_the_run() {
    let place = Place::new(5);
    let url = Arm::new(|_| Answer::From("9876543210")).serve();
    let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
    assert_eq!((code(&output), &summary(&output)["reason"]), (4, &json!("InputsChanged")));
    assert!(out(&output).contains("answered from revision 9876543210, but 0123456789 was to be measured"));
}

#[test]
fn an_arm_that_is_no_retrieval_server_is_an_error_with_its_address() {
    let place = Place::new(5);
    let url = Arm::new(|_| Answer::Hits(Vec::new())).serve().replace("/handbook", "/elsewhere");
    let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
    assert_eq!((code(&output), &summary(&output)["reason"]), (4, &json!("EndpointUnavailable")));
    let message = summary(&output)["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&url) && message.contains("answered 404"), "{message}");
}

#[test]
fn an_arm_that_must_be_asked_needs_texts() {
    let place = Place::new(60);
    let url = Arm::new(|_| Answer::Hits(vec![])).serve();
    let output = place.judge_runs("qrels.tsv", &["--output", "json", "--candidate", &url, "--metric", "mrr:floor=0.5"]);
    assert_eq!(code(&output), 4);
    assert!(summary(&output)["message"].as_str().unwrap().contains("write --queries FILE"), "{}", out(&output));
}

#[test]
fn of_arms_that_are_asked_one_must_find_a_judged_document() {
    let place = Place::new(60);
    // `relevant_at(11)` gives ten documents, none of them judged.
    let (good, foreign) = (Arm::new(relevant_at(1)).serve(), Arm::new(relevant_at(11)).serve());
    let judge = |candidate: &str, baseline: &str| {
        let metric = ["--metric", "mrr:margin=0.06,floor=0"];
        let arms = ["--output", "json", "--candidate", candidate, "--baseline", baseline];
        let output = place.evaluate(&[&arms[..], &metric[..]].concat());
        (code(&output), summary(&output)["reason"].as_str().unwrap().to_owned(), out(&output))
    };
    let (exit, reason, text) = judge(&foreign, &foreign);
    assert_eq!((exit, reason.as_str()), (4, "DatasetInvalid"));
    assert!(text.contains("None of the documents that were found is judged"), "{text}");
    // An index that finds nothing is measured: a broken candidate is worse.
    let (exit, reason, _) = judge(&foreign, &good);
    assert_eq!((exit, reason.as_str()), (1, "RegressionProven"));
}

/// `{"revision": …, "silhouette": …}` of an arm whose lowest domain is `legal`.
fn apart(revision: &str, mean: f64, lowest: f64) -> Value {
    let lowest = json!({"domain": "legal", "mean": lowest});
    json!({"revision": revision, "silhouette": {"documents": 2000, "mean": mean, "lowest": lowest}})
}

#[test]
fn an_arm_tells_how_far_its_domains_lie_apart_where_it_can_and_never_fails_by_it() {
    let place = Place::new(60);
    let slices = place.write("slices.tsv", "q000\tdomain\tlegal\n");
    let judge = |domains: Option<(u16, Value)>, labelled: bool| {
        let arm = Arm { domains, ..Arm::new(relevant_at(1)) };
        let url = arm.serve();
        let labels = ["--slices", &slices];
        let flags = ["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"];
        let output = place.evaluate(&[&flags[..], &labels[..if labelled { 2 } else { 0 }]].concat());
        assert_eq!(code(&output), 0, "{} {}", out(&output), err(&output));
        let asked = arm.asked.lock().unwrap().get("domains").map_or(0, Vec::len);
        let found = summary(&output);
        let facts = &found["facts"];
        let told = [facts.get("silhouette"), facts.get("warnings")].map(|fact| fact.cloned().unwrap_or(Value::Null));
        (asked, told, found["inputs"].clone())
    };
    let current = "0123456789";
    let (asked, told, inputs) = judge(Some((200, apart(current, 0.123_456_78, -0.5))), true);
    let lowest = json!({"domain": "legal", "mean": -0.5});
    let expected = json!({"documents": 2000, "mean": 0.123_457, "lowest": lowest});
    assert_eq!((asked, told), (1, [json!({"candidate": expected, "baseline": null}), Value::Null]));
    // Where no domains are known, and what tells none.
    let nothing = json!({"revision": current, "silhouette": null});
    for (domains, labelled, calls) in
        [(Some((200, nothing)), true, 1), (Some((200, apart(current, 0.1, 0.1))), false, 0), (None, true, 0)]
    {
        let (asked, told, same) = judge(domains, labelled);
        assert_eq!((asked, told), (calls, [Value::Null, Value::Null]));
        assert!(!labelled || same == inputs, "a fact enters no digest");
    }
    for (status, body, why) in [
        (500, json!({"title": "No", "detail": "the search stopped"}), "answered 500: the search stopped"),
        (404, Value::Null, "answered 404"),
        (200, json!([]), "the answer is not the retrieval API's"),
        (200, apart("9876543210", 0.1, 0.1), "answered from revision 9876543210, but 0123456789 was measured"),
        (200, apart(current, 1.5, 0.1), "the answer is out of bounds"),
    ] {
        let (asked, [fact, warnings], same) = judge(Some((status, body)), true);
        assert_eq!((asked, fact, same), (1, Value::Null, inputs.clone()), "{why}");
        let warnings = warnings.as_array().unwrap().clone();
        let begin = format!("How far the domains of the candidate lie apart is not known: {why}");
        assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with(&begin), "{why}: {warnings:?}");
    }
}

#[test]
fn every_form_tells_how_far_the_domains_of_both_arms_lie_apart() {
    let place = Place::new(60);
    let slices = place.write("slices.tsv", "q000\tdomain\tlegal\n");
    let [markdown, page] = ["md", "html"].map(|name| place.path(name).display().to_string());
    let arm = |domains| Arm { domains, ..Arm::new(relevant_at(1)) }.serve();
    let told = |baseline: Option<(u16, Value)>| {
        let mut of_candidate = apart("0123456789", 0.25, -0.125);
        of_candidate["silhouette"]["lowest"]["domain"] = json!("tax\nPass");
        let (candidate, baseline) = (arm(Some((200, of_candidate))), arm(baseline));
        let arms = ["--slices", &slices, "--candidate", &candidate, "--baseline", &baseline];
        let forms = ["--output", "table", "--output", &format!("markdown={markdown}"), "--report", &page];
        let output = place.evaluate(&[&arms[..], &forms[..], &["--metric", "mrr@3:margin=0.5"]].concat());
        assert_eq!(code(&output), 0, "{} {}", out(&output), err(&output));
        [out(&output), std::fs::read_to_string(&markdown).unwrap(), std::fs::read_to_string(&page).unwrap()]
    };
    let of_candidate = "silhouette by domain +0.2500 of 2000 documents, lowest ";
    for text in told(Some((200, apart("0123456789", 0.5, 0.375)))) {
        assert!(text.contains(of_candidate) && text.contains("-0.1250 (baseline +0.5000 of 2000"), "{text}");
    }
    for text in told(None) {
        assert!(text.contains(of_candidate) && !text.contains("(baseline +"), "{text}");
        assert!(!text.contains("tax\nPass"), "a name makes no line: {text}");
    }
}
