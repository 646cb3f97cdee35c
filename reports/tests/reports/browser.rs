//! The page in a real browser: it opens without a word on the console, shows the numbers of the CSV, and follows the
//! reader's light or dark scheme. Skips, and says so, where there is no Chromium. `KEEP_REPORT=folder` leaves the report
//! and its pictures (desktop, phone, dark, print) there to be looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reports::write;

/// A Chromium on the path.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file())
}

/// What the browser said on stdout and stderr.
fn run(browser: &Path, profile: &Path, arguments: &[&str], page: &Path) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--enable-logging=stderr", "--hide-scrollbars", "--timeout=20000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn on_console(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.contains("CONSOLE")).collect()
}

/// The text of every number of ours in a section of the page, in the order of the page.
fn shown(dom: &str, id: &str) -> Vec<f64> {
    let start = dom.find(&format!("<section id=\"{id}\">")).unwrap_or_else(|| panic!("no section {id}"));
    let section = dom[start..].split("</section>").next().unwrap();
    section
        .split("<span class=\"ours\">")
        .skip(1)
        .map(|rest| {
            let text = rest.split('<').next().unwrap().replace(',', "").replace("&lt;", "");
            text.trim().parse().unwrap_or_else(|e| panic!("{id} shows {text}: {e}"))
        })
        .collect()
}

/// The numbers of ours in a table's CSV: one per cell, which may have several lines.
fn written(csv: &str) -> Vec<f64> {
    let records = crate::report::records(csv);
    let mut cells: Vec<(&[String], f64)> = Vec::new();
    for record in records[1..].iter().filter(|r| !r[6].is_empty()) {
        let key = &record[1..6];
        if cells.last().is_none_or(|(last, _)| *last != key) {
            cells.push((key, record[6].parse().unwrap()));
        }
    }
    cells.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn the_page_opens_without_a_word_and_shows_the_numbers_of_the_csv() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no chromium or google-chrome on the path");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("profile");
    let out = std::env::var_os("KEEP_REPORT").map_or_else(|| dir.path().join("out"), PathBuf::from);
    let study = crate::made_up::study(&dir.path().join("store"));
    let report = write(&study, &out).unwrap();

    // The console is heard at all: a page whose script the policy blocks says so.
    let loud = dir.path().join("loud.html");
    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\">";
    fs::write(&loud, format!("<!doctype html><head>{policy}</head><script>1</script>")).unwrap();
    let (_, heard) = run(&browser, &profile, &["--dump-dom"], &loud);
    assert!(!on_console(&heard).is_empty(), "the console cannot be heard: {heard}");

    let (dom, said) = run(&browser, &profile, &["--dump-dom"], &report.html);
    assert_eq!(on_console(&said), [""; 0]);
    for id in &report.tables {
        let csv = fs::read_to_string(out.join(format!("tables/{id}.csv"))).unwrap();
        let (shown, written) = (shown(&dom, id), written(&csv));
        assert_eq!(shown.len(), written.len(), "{id}: {shown:?} {written:?}");
        for (a, b) in shown.iter().zip(&written) {
            // Four digits, or one decimal of a per cent.
            assert!((a - b).abs() <= 0.0501_f64.max(b.abs() * 5.1e-4), "{id} shows {a} for {b}");
        }
    }
    assert_eq!(dom.matches("<figure>").count(), report.figures.len());

    let light = look(&browser, &profile, &report.html, &out.join("desktop.png"), "1400,1200", true);
    let dark = look(&browser, &profile, &report.html, &out.join("dark.png"), "1400,1200", false);
    assert!(light > 200 && dark < 60, "ground of the page: {light} in light, {dark} in dark");
    if std::env::var_os("KEEP_REPORT").is_some() {
        look(&browser, &profile, &report.html, &out.join("long.png"), "1400,16000", true);
        look(&browser, &profile, &report.html, &out.join("long-dark.png"), "1400,16000", false);
        look(&browser, &profile, &report.html, &out.join("phone.png"), "500,16000", true);
        let pdf = format!("--print-to-pdf={}", out.join("print.pdf").display());
        run(&browser, &profile, &[&pdf], &report.html);
    }
}

/// Takes a picture of the page; gives the brightness of its ground back.
fn look(browser: &Path, profile: &Path, page: &Path, picture: &Path, size: &str, light: bool) -> u8 {
    let (screenshot, size) = (format!("--screenshot={}", picture.display()), format!("--window-size={size}"));
    // Blink's own numbers of the two schemes.
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(light));
    run(browser, profile, &[&screenshot, &size, &scheme], page);
    image::open(picture).unwrap().to_luma8().get_pixel(3, 3).0[0]
}
