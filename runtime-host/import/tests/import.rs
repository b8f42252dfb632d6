//! Whole imports against a stand-in server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are not recognised as tests")]

mod jobs;
mod server;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use funnelweb_demo::{Kind as World, Size};
use funnelweb_import::{
    AnyFiles, CHUNK_LINES, Error, EventIds, Import, Kind, Mapping, OnDuplicate, Options, PlainFormat, Report, State,
    load_demo, read, run,
};
use serde_json::json;
use server::{Fault, Server};

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn import(server: &Server, options: &Options) -> Result<Report, Error> {
    run(&server.client(), options, &mut |_| ())
}

fn mapped(source: PathBuf, mapping: &str) -> Options {
    Options { mapping: Some(mapping.to_owned()), ..Options::new(source, "films") }
}

/// `count` ratings by as many users.
fn ratings(count: usize) -> String {
    (0..count).map(|at| format!("{at}\t7\t{}\t{}\n", at % 5 + 1, 881_250_949 + at)).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn lines_go_out_in_chunks_with_the_gateway_s_headers() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let source = write(folder.path(), "u.data", ratings(25));
    let options = Options { chunk_lines: 10, ..mapped(source, "movielens-100k-ratings") };
    let mut shown = Vec::new();
    let report = run(&server.client(), &options, &mut |progress| shown.push((progress.done, progress.lines))).unwrap();
    assert_eq!((report.records, report.batch.accepted, report.batch.failed), (25, 25, 0));
    assert_eq!(server.sizes(), [10, 10, 5]);
    assert_eq!(shown.iter().map(|(_, lines)| *lines).collect::<Vec<_>>(), [10, 20, 25]);
    assert_eq!(shown[2].0, ratings(25).len() as u64);
    let seen = server.seen.lock().unwrap();
    let (method, path, headers, _) = &seen.requests[0];
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/api/v1/behaviors"));
    assert_eq!(headers["x-tenant-id"], "shop");
    assert_eq!(headers["authorization"], "Bearer secret");
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert!(headers["x-request-id"].starts_with("import_"));
    assert_eq!(files(folder.path()), ["u.data"], "the state file is gone");
}

#[test]
fn a_busy_or_broken_server_is_asked_again_and_nothing_counts_twice() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let source = write(folder.path(), "u.data", ratings(20));
    let options = Options { chunk_lines: 10, ..mapped(source, "movielens-100k-ratings") };
    server.faults(&[Some(Fault::Busy), Some(Fault::Busy), None, Some(Fault::CutOff)]);
    let report = import(&server, &options).unwrap();
    assert_eq!(server.sizes(), [10, 10, 10, 10, 10]);
    assert_eq!((report.batch.accepted, report.batch.duplicates), (10, 10));
    assert_eq!(server.events().len(), 20);
}

#[test]
fn patience_ends_and_the_next_run_takes_it_up() {
    for source_name in ["u.data", "u.data.gz"] {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let content = if source_name.ends_with(".gz") {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(ratings(45).as_bytes()).unwrap();
            packer.finish().unwrap()
        } else {
            ratings(45).into_bytes()
        };
        let source = write(folder.path(), source_name, content);
        let options = Options { chunk_lines: 10, ..mapped(source, "movielens-100k-ratings") };
        server.faults(&[None, None, Some(Fault::Busy), Some(Fault::Busy), Some(Fault::CutOff), Some(Fault::Busy)]);
        let error = import(&server, &options).unwrap_err();
        assert!(matches!(error, Error::Unreachable { attempts: 4, .. }), "{error}");
        assert_eq!(files(folder.path()).len(), 2, "the state file stays");

        // And again, after one more chunk: positions are of the source, not of a run.
        server.faults(&[None, Some(Fault::NotFound)]);
        import(&server, &options).unwrap_err();

        server.seen.lock().unwrap().requests.clear();
        let report = import(&server, &options).unwrap();
        assert_eq!(report.resumed_after_line, Some(30));
        assert_eq!(server.sizes(), [10, 5]);
        // The chunk that was cut off had arrived; its events are known.
        assert_eq!((report.batch.lines, report.batch.accepted, report.batch.duplicates), (45, 35, 10));
        assert_eq!((report.records, server.events().len()), (45, 45));
        assert_eq!(files(folder.path()).len(), 1);
    }
}

#[test]
fn a_restart_or_another_source_begins_at_the_beginning() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let source = write(folder.path(), "u.data", ratings(20));
    let options = Options { chunk_lines: 10, ..mapped(source, "movielens-100k-ratings") };
    for change in [false, true] {
        server.faults(&[None, Some(Fault::NotFound)]);
        let error = import(&server, &options).unwrap_err();
        assert!(error.to_string().ends_with("answered 404: scenario_not_found: no scenario `x`"), "{error}");
        if change {
            write(folder.path(), "u.data", ratings(21));
        }
        let report = import(&server, &Options { restart: !change, ..options.clone() }).unwrap();
        assert_eq!(report.resumed_after_line, None);
    }
}

#[test]
fn by_content_a_source_that_has_grown_counts_each_row_once() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let (client, mapping) = (server.client(), Mapping::plain_as(Kind::Behaviors, PlainFormat::Csv));
    let import = |rows: &[&str]| {
        let source = write(folder.path(), "log", format!("user_id,item_id,action_type\n{}\n", rows.join("\n")));
        let import = Import {
            source: &source,
            files: &AnyFiles,
            mapping: &mapping,
            scenario_id: "films",
            on_duplicate: OnDuplicate::Replace,
            event_ids: EventIds::ByContent,
            chunk_lines: 2,
        };
        let state = import.send(&client, import.begin(None).unwrap(), &mut |_, _| Ok(())).unwrap();
        (state.batch().accepted, state.batch().duplicates)
    };
    assert_eq!(import(&["a,1,view", "a,1,like", "b,1,view"]), (3, 0));
    // The oldest row is gone, two are new, one stands elsewhere.
    assert_eq!(import(&["c,1,view", "b,1,view", "a,1,like", "a,2,view"]), (2, 2));
    // Rows that say the same are one event.
    assert_eq!(import(&["d,1,view", "d,1,view"]), (1, 1));
}

#[test]
fn whoever_is_told_of_the_progress_may_end_an_import_and_take_it_up() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let (client, source) = (server.client(), write(folder.path(), "u.data", ratings(25)));
    let mapping = Mapping::load("movielens-100k-ratings").unwrap();
    let import = Import {
        source: &source,
        files: &AnyFiles,
        mapping: &mapping,
        scenario_id: "films",
        on_duplicate: OnDuplicate::Replace,
        event_ids: EventIds::ByContent,
        chunk_lines: 10,
    };
    let mut kept: Option<State> = None;
    let ended = import.send(&client, import.begin(None).unwrap(), &mut |state, _| {
        kept = Some(state.clone());
        Err(Error::Stopped)
    });
    assert!(matches!(ended, Err(Error::Stopped)));
    assert_eq!(kept.as_ref().unwrap().lines_read(), 10);
    let begun = import.begin(kept).unwrap();
    assert!(begun.is_resumed());
    let state = import.send(&client, begun, &mut |_, _| Ok(())).unwrap();
    assert_eq!((state.batch().accepted, state.batch().duplicates, server.sizes()), (25, 0, vec![10, 10, 5]));
}

#[test]
fn a_header_is_read_again_when_an_import_is_taken_up() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let rows: String = (0..15).map(|at| format!("{at},\"Film, {at}\nand more\",Drama|War\n")).collect();
    let source = write(folder.path(), "movies.csv", format!("\u{feff}movieId,title,genres\n{rows}"));
    let options = Options { chunk_lines: 10, ..mapped(source, "movielens-movies") };
    server.faults(&[None, Some(Fault::NotFound)]);
    import(&server, &options).unwrap_err();
    let report = import(&server, &options).unwrap();
    // A header and ten records of two lines.
    assert_eq!(report.resumed_after_line, Some(21));
    let items = server.items();
    assert_eq!(items.len(), 15);
    let metadata = json!({"title": "Film, 14\nand more", "category": "Drama", "tags": ["Drama", "War"]});
    assert_eq!(items["movie_14"], json!({"item_id": "movie_14", "metadata": metadata}));
}

#[test]
fn what_is_wrong_is_reported_by_line_and_the_rest_goes_in() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut content =
        b"1\t7\t4\t881250949\nx y\t7\t4\t881250949\n3\t7\tgood\t881250949\n4\t7\n\xff\t7\t4\t5\n6\t7\t1\t-5\n".to_vec();
    content.extend_from_slice(b"7\t7\t3\t881250949");
    let source = write(folder.path(), "u.data", content);
    let id = {
        let options = mapped(source.clone(), "movielens-100k-ratings");
        import(&server, &options).unwrap();
        let ids: Vec<String> =
            server.events().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 2);
        ids.into_iter().find(|id| id.ends_with("_7_0")).unwrap()
    };
    server.seen.lock().unwrap().events.clear();
    server.seen.lock().unwrap().refused.insert(id);
    let report = import(&server, &mapped(source, "movielens-100k-ratings")).unwrap();
    assert_eq!((report.batch.lines, report.batch.accepted, report.batch.failed), (7, 1, 6));
    let errors: Vec<String> = report
        .batch
        .errors
        .iter()
        .map(|error| format!("{} {} {}", error.line, error.field.as_deref().unwrap_or("-"), error.message))
        .collect();
    assert_eq!(
        errors,
        [
            "2 user_id may hold letters, digits and `_ . : -` only, got ' ' at byte 6",
            "3 action_type `good` is no number",
            "4 - has 2 values, 4 are expected",
            "5 - the line is not utf-8; say `encoding = \"latin-1\"` if it is that",
            "6 timestamp `-5` is no time",
            "7 event_id refused",
        ]
    );
}

#[test]
fn what_is_read_is_what_would_be_sent() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let source = write(folder.path(), "u.data", format!("{}bad\t7\n{}", ratings(1200), ratings(3)));
    let options = mapped(source, "movielens-100k-ratings");
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    let kind = read(&options, &mut |number, line| match line {
        Ok(line) => lines.push((number, line.to_vec())),
        Err(error) => errors.push((number, error.message)),
    });
    assert_eq!(kind.unwrap(), Kind::Behaviors);
    assert_eq!(errors, [(1201, "has 2 values, 4 are expected".to_owned())]);
    assert_eq!((lines.len(), lines[0].0, lines[1200].0), (1203, 1, 1202));
    assert_eq!(files(folder.path()), ["u.data"], "no state is kept");
    run(&server.client(), &options, &mut |_| ()).unwrap();
    let event = |(_, line): &(u64, Vec<u8>)| serde_json::from_slice::<serde_json::Value>(line).unwrap();
    let events = lines.iter().map(event).map(|event| (event["event_id"].as_str().unwrap().to_owned(), event));
    assert_eq!(events.collect::<std::collections::BTreeMap<_, _>>(), server.seen.lock().unwrap().events);
}

#[test]
fn genre_flags_and_latin_1_become_tags_and_titles() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let line = b"9|Misad\xe9lie (1995)|01-Jan-1995||http://x/\"a|0|0|1|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n";
    let source = write(folder.path(), "u.item", line);
    import(&server, &mapped(source, "movielens-100k-items")).unwrap();
    let metadata = json!({
        "title": "Misadélie (1995)", "release_date": "01-Jan-1995", "url": "http://x/\"a",
        "category": "adventure", "tags": ["adventure", "drama"],
    });
    assert_eq!(server.items()["movie_9"], json!({"item_id": "movie_9", "metadata": metadata}));
    assert!(server.seen.lock().unwrap().requests[0].1.ends_with("/items/films?on_duplicate=replace"));
}

#[test]
fn tags_are_joined_from_tables_beside_the_source() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let header = "book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,\
                  original_publication_year,original_title,title,language_code,average_rating,ratings_count,image_url\n";
    let row = "1,77,77,5,2,,,\"Ann Alm, Bo Berg\",2008.0,T,\"Tales, again\",eng,4.34,12,http://x\n";
    let source = write(folder.path(), "books.csv", format!("{header}{row}"));
    let options = mapped(source, "goodbooks-10k-books");
    let error = import(&server, &options).unwrap_err();
    assert!(error.to_string().contains("book_tags.csv"), "{error}");
    write(folder.path(), "book_tags.csv", "goodreads_book_id,tag_id,count\n77,1,9\n77,2,8\n78,2,8\n77,3,7\n77,99,1\n");
    write(folder.path(), "tags.csv", "tag_id,tag_name\n1,to-read\n2,fantasy\n3,young-adult\n");
    import(&server, &options).unwrap();
    let metadata = &server.items()["book_1"]["metadata"];
    assert_eq!(metadata["tags"], json!(["fantasy", "young-adult"]));
    assert_eq!(metadata["category"], "fantasy");
    assert_eq!(metadata["authors"], json!(["Ann Alm", "Bo Berg"]));
    assert_eq!(metadata["year"], 2008);
}

#[test]
fn sessions_lists_and_pairs_are_read() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let views = "session_id;user_id;item_id;timeframe;eventdate\n1;NA;81;526309;2016-05-09\n2;15;81;1;2016-05-10\n";
    let source = write(folder.path(), "views.csv", views);
    let report = import(&server, &mapped(source.clone(), "diginetica-items")).unwrap();
    assert_eq!((report.batch.created, report.records), (1, 2), "an item that is there twice is sent once");
    import(&server, &mapped(source, "diginetica-views")).unwrap();
    let events = server.events();
    assert_eq!(events[0]["timestamp"], "2016-05-09T00:08:46.309Z");
    assert_eq!(events[0]["user_id"], "session_1");
    assert_eq!(events[0].get("extra"), None);
    assert_eq!(events[1]["extra"]["account"], "15");

    server.seen.lock().unwrap().events.clear();
    server.seen.lock().unwrap().requests.clear();
    let lists: String = format!("5 1 2\n\n6 {}\n", (0..25).map(|item| item.to_string()).collect::<Vec<_>>().join(" "));
    let source = write(folder.path(), "lists.txt", lists);
    let options = Options { chunk_lines: 10, ..mapped(source, "user-lists-behaviors") };
    let report = import(&server, &options).unwrap();
    assert_eq!((report.records, report.batch.accepted), (2, 27));
    // A long list takes several requests.
    assert_eq!(server.sizes(), [10, 10, 7]);
    let last = server.events().into_iter().find(|event| event["item_id"] == "item_24").unwrap();
    assert_eq!((&last["user_id"], &last["timestamp"]), (&json!("user_6"), &json!("2024-01-02T00:00:00.000Z")));

    let source = write(folder.path(), "train.tsv", "0\t885\n0\t1387\n");
    assert_eq!(import(&server, &mapped(source.clone(), "pairs-items")).unwrap().batch.created, 2);
    assert_eq!(import(&server, &mapped(source, "pairs-behaviors")).unwrap().batch.accepted, 2);
}

#[test]
fn without_a_mapping_columns_are_the_api_s_fields() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let csv = "item_id,title,metadata.price,tags,created_at,embedding,code,hd\n\
               a1,12,9.5,oak|small,2024-01-31,0.5 -1,007,true\nb2,Rug,,,,,,\n";
    let options = |source| Options { kind: Some(Kind::Items), ..Options::new(source, "films") };
    import(&server, &options(write(folder.path(), "items.csv", csv))).unwrap();
    let metadata = json!({"title": "12", "price": 9.5, "tags": ["oak", "small"], "code": "007", "hd": true});
    let lamp = json!({
        "item_id": "a1", "metadata": metadata, "created_at": "2024-01-31T00:00:00.000Z", "embedding": [0.5, -1.0],
    });
    assert_eq!(server.items()["a1"], lamp);
    assert_eq!(server.items()["b2"]["metadata"], json!({"title": "Rug"}));

    let source = write(
        folder.path(),
        "events.jsonl",
        "{\"user_id\":\"u\",\"item_id\":\"a1\",\"action_type\":\"view\"}\n[1]\n{\n",
    );
    let report = import(&server, &Options { kind: Some(Kind::Behaviors), ..Options::new(source, "films") }).unwrap();
    assert_eq!((report.batch.accepted, report.batch.failed), (1, 2));
    assert_eq!(server.events()[0]["scenario_id"], "films");
    assert!(server.events()[0]["event_id"].as_str().unwrap().ends_with("_1_0"));

    let bad = write(folder.path(), "bad.csv", "user_id,item_id,action_type,rating\n1,2,view,5\n");
    let options = Options { kind: Some(Kind::Behaviors), ..Options::new(bad.clone(), "films") };
    let error = import(&server, &options).unwrap_err();
    assert!(error.to_string().contains("fields.rating: no such field"), "{error}");
    let error = import(&server, &Options::new(bad, "films")).unwrap_err();
    assert!(error.to_string().contains("say whether it holds items or behaviors"), "{error}");
}

#[test]
fn faults_of_source_and_state_are_told_before_anything_is_sent() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let source = write(folder.path(), "movies.csv", "movieId,name\n1,x\n");
    let error = import(&server, &mapped(source.clone(), "movielens-movies")).unwrap_err();
    let message = "the source has no column `genres`; it has movieId, name";
    assert_eq!(error.to_string(), format!("mapping movielens-movies: fields.metadata.category: {message}"));
    let nowhere = Options { state_dir: Some(folder.path().join("none")), ..mapped(source, "movielens-movies") };
    assert!(matches!(import(&server, &nowhere), Err(Error::State { .. })));
    let missing = mapped(folder.path().join("absent.csv"), "movielens-movies");
    assert!(matches!(import(&server, &missing), Err(Error::Io { .. })));
    let empty = mapped(write(folder.path(), "empty.csv", ""), "movielens-movies");
    assert!(import(&server, &empty).unwrap_err().to_string().contains("should begin with a header"));
    let open = format!("movieId,title,genres\n1,\"{}", "x".repeat(3_000_000));
    let open = mapped(write(folder.path(), "open.csv", open), "movielens-movies");
    assert!(import(&server, &open).unwrap_err().to_string().contains("is a quote not closed"));
    assert!(server.sizes().is_empty());
}

#[test]
fn the_demo_loads_and_loading_it_again_changes_nothing() {
    let server = Server::start();
    let count = CHUNK_LINES as u64 + 500;
    let size = Size { items: u32::try_from(count).unwrap(), users: 20, events: 1_500 };
    let world = funnelweb_demo::World::new(World::News, size, 1, 1_767_225_600_000).unwrap();
    let mut tasks = Vec::new();
    let loaded =
        load_demo(&server.client(), &world, &mut |progress| tasks.push((progress.task.to_owned(), progress.done)))
            .unwrap();
    assert_eq!((loaded.items.created, loaded.behaviors.accepted), (count, 1_500));
    let done = |of: &str| tasks.iter().filter(|(task, _)| task == of).map(|(_, done)| *done).collect::<Vec<_>>();
    // As many lines or bytes as a request holds.
    let items = done("news items");
    assert!(items.len() > 1 && items.is_sorted() && items.last() == Some(&count), "{items:?}");
    assert_eq!(done("news behaviors"), [1_000, 1_500]);
    let again = load_demo(&server.client(), &world, &mut |_| ()).unwrap();
    assert_eq!((again.items.replaced, again.behaviors.duplicates), (count, 1_500));
    let seen = server.seen.lock().unwrap();
    let (method, path, _, _) = &seen.requests[0];
    assert_eq!((method.as_str(), path.as_str()), ("PUT", "/api/v1/scenarios/news_main_feed"));
}

#[test]
fn a_slate_is_asked_for_on_behalf_of_a_user() {
    let server = Server::start();
    let answer = server.client().recommend("user_1", "films", 10, &json!({"device_type": "mobile"})).unwrap();
    assert_eq!(answer, json!({"items": []}));
    assert_eq!(server.seen.lock().unwrap().requests[0].2["x-user-id"], "user_1");
}
