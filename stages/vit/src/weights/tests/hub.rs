//! Downloads against a hub of our own on this machine: found, counted, resumed, and fetched once.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{official, tiny, write};
use crate::error::VitError;
use crate::weights::{HubAccess, WeightSource, Weights, load};

/// What the hub saw: file requests and the byte each began at.
type Seen = Arc<Mutex<Vec<(String, u64)>>>;

/// Serves one repository with one file until the test process ends. The first download stops after `cut` bytes.
fn hub(name: &'static str, body: Vec<u8>, cut: usize) -> (String, Seen) {
    hub_of(vec![(name, body)], cut)
}

fn hub_of(files: Vec<(&'static str, Vec<u8>)>, cut: usize) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (seen, downloads) = (Seen::default(), AtomicUsize::new(0));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &files, cut, &downloads, &log);
        }
    });
    (endpoint, seen)
}

fn answer(
    mut stream: TcpStream,
    files: &[(&str, Vec<u8>)],
    cut: usize,
    downloads: &AtomicUsize,
    log: &Seen,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = value.split_once('-').unwrap_or((value, ""));
            range = Some((from.parse::<usize>().unwrap_or(0), to.parse::<usize>().ok()));
        }
    }
    if path == "/api/models/owner/repo/revision/main" || path == "/api/models/owner/repo" {
        let names: String = files.iter().map(|(name, _)| format!(r#", {{"rfilename": "{name}"}}"#)).collect();
        let listing = format!(r#"{{"sha": "c0ffee", "siblings": [{{"rfilename": "README.md"}}{names}]}}"#);
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{listing}",
            listing.len()
        );
    }
    let asked = path.strip_prefix("/owner/repo/resolve/main/");
    let Some((_, body)) = files.iter().find(|(name, _)| Some(*name) == asked) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (from, to) = range.unwrap_or((0, None));
    let part = &body[from.min(body.len())..to.map_or(body.len(), |to| to + 1)];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nETag: \"abc\"\r\nX-Repo-Commit: c0ffee\r\nContent-Range: bytes {from}-{}/{}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        from + part.len(),
        body.len(),
        part.len()
    )?;
    if to.is_some() {
        return stream.write_all(part);
    }
    log.lock().unwrap().push((path, from as u64));
    let first = downloads.fetch_add(1, Ordering::SeqCst) == 0;
    stream.write_all(if first { &part[..cut.min(part.len())] } else { part })
}

fn fetch(text: &str, endpoint: &str, cache: &Path, progress: &dyn Fn(u64, u64)) -> Result<Weights, VitError> {
    let access = HubAccess { cache_dir: cache.join("hub"), endpoint: Some(endpoint.to_owned()), token: None };
    load(&tiny(), &WeightSource::parse(text, &access)?, progress)
}

#[test]
fn a_repository_is_searched_fetched_resumed_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "m", &official(&tiny().config));
    let body = std::fs::read(&file).unwrap();
    let total = body.len() as u64;
    let (endpoint, seen) = hub("pytorch_model.bin", body, 1000);
    let reports = RefCell::new(Vec::new());
    let loaded =
        fetch("hf:owner/repo", &endpoint, folder.path(), &|done, all| reports.borrow_mut().push((done, all))).unwrap();
    assert_eq!(loaded, super::load_file(&tiny(), &file).unwrap());
    let froms: Vec<u64> = seen.lock().unwrap().iter().map(|(_, from)| *from).collect();
    assert_eq!(froms, [0, 1000], "the second request takes up where the first was cut");
    assert_eq!(reports.borrow().last(), Some(&(total, total)));
    assert!(reports.borrow().iter().all(|(done, all)| done <= all), "{:?}", reports.borrow());
    // From the cache: the hub is not needed again, by either spelling.
    for text in ["hf:owner/repo", "hf:owner/repo/pytorch_model.bin"] {
        assert_eq!(fetch(text, "http://127.0.0.1:1", folder.path(), &|_, _| {}).unwrap().digest, loaded.digest);
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
}

/// Breaks when a file that is there by chance wins over the one that the repository would give: two machines would then
/// load two models by one name.
#[test]
fn what_was_fetched_before_does_not_choose_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let first = official(&tiny().config);
    let mut second = first.clone();
    for (_, values) in second.values_mut() {
        values.fill(0.5);
    }
    let [first, second] = [first, second].map(|tensors| std::fs::read(write(folder.path(), "m", &tensors)).unwrap());
    let (endpoint, _) = hub_of(vec![("pytorch_model.bin", second), ("model.safetensors", first.clone())], usize::MAX);
    let (only_first, _) = hub("model.safetensors", first, usize::MAX);
    let digest = |text: &str, endpoint: &str, cache: &str| {
        fetch(text, endpoint, &folder.path().join(cache), &|_, _| {}).unwrap().digest
    };
    let wanted = digest("hf:owner/repo", &only_first, "fresh");
    assert_ne!(digest("hf:owner/repo/pytorch_model.bin", &endpoint, "used"), wanted);
    assert_eq!(digest("hf:owner/repo", &endpoint, "used"), wanted);

    // A repository that the hub refuses is refused, whatever is kept of it.
    let kept = folder.path().join("used/hub");
    std::fs::rename(kept.join("models--owner--repo"), kept.join("models--owner--other")).unwrap();
    let error = fetch("hf:owner/other", &endpoint, &folder.path().join("used"), &|_, _| {}).unwrap_err().to_string();
    assert!(error.contains("check the name"), "{error}");
    assert_eq!(digest("hf:owner/other", "http://127.0.0.1:1", "used"), wanted);
}

#[test]
fn what_the_hub_lacks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, _) = hub("notes.txt", Vec::new(), 0);
    let told = |text: &str, endpoint: &str| fetch(text, endpoint, folder.path(), &|_, _| {}).unwrap_err().to_string();
    assert!(told("hf:owner/repo", &endpoint).contains("has none of model.safetensors"));
    assert!(told("hf:owner/repo/model.pth", &endpoint).contains("check the name"));
    assert!(told("hf:owner/other", &endpoint).contains("check the name"));
    assert!(told("hf:owner/repo/model.pth", "http://127.0.0.1:1").contains("give a local path"));
}
