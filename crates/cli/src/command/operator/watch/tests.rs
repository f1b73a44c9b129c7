//! Keys in, pictures out.

use std::time::{Duration, SystemTime};

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};
use serde_json::{Value, json};

use super::{
    dialog::Act,
    draw::{Palette, draw},
    state::{Effect, News, Page, Sight, State},
};

const NOW: &str = "2026-03-03T19:02:42Z";

fn now() -> SystemTime {
    humantime::parse_rfc3339(NOW).expect("a time")
}

/// A time before now, as the server writes it.
fn ago(seconds: u64) -> String {
    humantime::format_rfc3339_micros(now() - Duration::from_secs(seconds)).to_string()
}

fn semaphore(name: &str, max: i64, acquired: i64, waiting: u64) -> Value {
    json!({
        "name": name, "max": max, "level": 0, "acquired": acquired, "pending": 2 * waiting, "remainder": max - acquired,
        "waiting": waiting, "cooling": 0, "longest_wait": format!("{}s", 65 * waiting), "origin": "file", "per": null,
        "deadlock": "hierarchy"
    })
}

fn listed(semaphores: &[Value]) -> News {
    let read = |value: &Value| serde_json::from_value(value.clone()).expect("a semaphore");
    News::Seen(Page::List, Sight::List(semaphores.iter().map(read).collect(), false))
}

/// A semaphore of max 2 with two holders and two waiters.
fn detail(name: &str, max: i64) -> News {
    let mut shape = semaphore(name, max, 2, 2);
    let labels = json!({"host": "w1", "user": "jane", "program": "import.sh", "pid": "77"});
    let holders = json!([
        {"peer": "11", "count": 1, "token": "1795480000000001", "since": ago(3700), "expires_at": ago(0), "labels": labels},
        {"peer": "12", "count": 1, "token": null, "since": ago(5), "expires_at": "2026-03-03T19:03:12Z", "labels": {}}
    ]);
    let queue = json!([
        {"peer": "13", "count": 1, "priority": 5, "position": 1, "since": ago(130), "estimated_wait": "1m 5s", "labels": {}},
        {"peer": "14", "count": 3, "priority": 0, "position": 2, "since": ago(20), "estimated_wait": null,
         "labels": {"host": "w\u{1b}[31m2"}}
    ]);
    let fields = shape.as_object_mut().expect("an object");
    for (key, value) in
        [("holders", holders), ("queue", queue), ("holders_total", json!(2)), ("queue_total", json!(2))]
    {
        fields.insert(key.to_owned(), value);
    }
    let detail = serde_json::from_value(shape).expect("a detail");
    News::Seen(Page::Semaphore(name.to_owned()), Sight::Semaphore(Box::new(detail), None))
}

/// A semaphore with changes to its figures, its first waiter, and whom that one waits for besides.
fn head_of_queue(figures: Value, waiter: Value, blocked_by: &Value) -> News {
    let News::Seen(page, Sight::Semaphore(detail, _)) = detail("A", 2) else { panic!("a semaphore") };
    let mut shape = serde_json::to_value(&detail).expect("a detail");
    let change = |shape: &mut Value, changes: Value| {
        let changes = changes.as_object().cloned().unwrap_or_default();
        shape.as_object_mut().expect("an object").extend(changes);
    };
    change(&mut shape, figures);
    change(&mut shape["queue"][0], waiter);
    let News::Seen(_, Sight::Peer(mut first)) = peer("13", true) else { panic!("a peer") };
    first.pending = serde_json::from_value(json!({
        "locks": {"A": 1, "gpu-host": 2}, "priority": 0, "since": ago(61), "position": 1, "estimated_wait": null,
        "blocked_by": blocked_by
    }))
    .expect("pending");
    let detail = serde_json::from_value(shape).expect("a detail");
    News::Seen(page, Sight::Semaphore(detail, Some(first)))
}

fn peer(id: &str, waits: bool) -> News {
    let pending = json!({
        "locks": {"C": 2}, "priority": 1, "since": ago(61), "position": 4, "estimated_wait": null,
        "blocked_by": [{"semaphore": "C", "peer": "99", "count": 1, "since": ago(9), "labels": {"host": "w9"}}]
    });
    let shape = json!({
        "id": id, "labels": {"host": "w1"}, "created_at": ago(90), "expires_at": "2026-03-03T19:02:52Z",
        "locks": [{"semaphore": "A", "count": 1, "token": "7", "since": ago(80)},
                  {"semaphore": "B", "count": 2, "token": null, "since": ago(80)}],
        "pending": if waits { pending } else { Value::Null }
    });
    let peer = serde_json::from_value(shape).expect("a peer");
    News::Seen(Page::Peer(id.to_owned()), Sight::Peer(Box::new(peer)))
}

/// A view of three semaphores.
fn view() -> State {
    let mut state = State::new("http://here:8000".to_owned(), "jane".to_owned());
    state.learn(
        listed(&[semaphore("A", 2, 2, 2), semaphore("B", 1, 3, 0), semaphore("tenant/a", 0, 0, 0)]),
        now(),
    );
    state
}

fn press(state: &mut State, key: KeyCode) -> Option<Effect> {
    state.press(KeyEvent::new(key, KeyModifiers::NONE))
}

/// Each letter is a key.
fn type_in(state: &mut State, letters: &str) -> Vec<Effect> {
    letters.chars().filter_map(|letter| press(state, KeyCode::Char(letter))).collect()
}

fn picture_of(state: &State, width: u16, height: u16, has_colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal is needed");
    terminal.draw(|frame| draw(state, now(), &Palette::new(has_colours), frame)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// The rows of the picture in an ordinary terminal.
fn rows(state: &State) -> Vec<String> {
    let buffer = picture_of(state, 80, 24, true);
    let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..24).map(row).collect()
}

#[track_caller]
fn shows(state: &State, texts: &[&str]) {
    let rows = rows(state);
    for text in texts {
        assert!(rows.iter().any(|row| row.contains(text)), "{text:?} is not in\n{}", rows.join("\n"));
    }
}

#[test]
fn semaphores_with_what_is_wrong_in_red() {
    let state = view();
    let seen = rows(&state);
    assert_eq!(seen[0], " throttle at http://here:8000");
    assert_eq!(seen[1], " 3 semaphores, 1 waited for, 1 overcommitted, by name");
    assert_eq!(seen[2], "SEMAPHORE             USE             ACQUIRED PENDING WAITING  LONGEST NOTE");
    assert_eq!(seen[3], "A                     ██████████           2/2       4       2   2m 10s");
    assert_eq!(seen[4], "B                     ██████████           3/1       0       0        - over 2");
    assert_eq!(seen[5], "tenant/a              ░░░░░░░░░░           0/0       0       0        - paused");
    assert!(seen[23].ends_with("q quit"), "{}", seen[23]);
    let colour_at = |has_colours, y| picture_of(&state, 80, 24, has_colours)[(22, y)].fg;
    assert_eq!((colour_at(true, 3), colour_at(true, 4)), (Color::Cyan, Color::Red));
    let plain = picture_of(&state, 80, 24, false);
    assert!(
        plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset),
        "NO_COLOR"
    );
}

#[test]
fn nothing_breaks_in_any_size() {
    let mut state = view();
    let sizes = [(0, 0), (1, 1), (3, 2), (20, 5), (80, 24), (200, 60)];
    let draw_all = |state: &State| {
        for (width, height) in sizes {
            picture_of(state, width, height, true);
        }
    };
    draw_all(&state);
    press(&mut state, KeyCode::Enter);
    draw_all(&state);
    state.learn(detail("A", 2), now());
    draw_all(&state);
    press(&mut state, KeyCode::Char('m'));
    draw_all(&state);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Enter);
    state.learn(peer("11", true), now());
    draw_all(&state);
    type_in(&mut state, "r?");
    draw_all(&state);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('?'));
    draw_all(&state);
}

#[test]
fn a_semaphore_with_its_holders_and_its_queue() {
    let mut state = view();
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.page(), Page::Semaphore("A".to_owned()));
    shows(&state, &["throttle at http://here:8000 › A", "Asking the server"]);
    state.learn(detail("A", 2), now());
    let seen = rows(&state);
    assert_eq!(seen[2], "████████████████████ 2 of 2 held, 2 wait for 4, up to 2m 10s");
    assert_eq!(seen[3], "level 0, declared from the file, levels keep it from deadlocks");
    assert_eq!(seen[5], "HOLDERS: 2");
    assert_eq!(seen[6], "WHO                                   PEER                 COUNT SINCE   EXPIRES");
    assert_eq!(seen[7], "import.sh jane@w1 pid 77              11                   1     1h 1m   0s");
    assert_eq!(seen[8], "-                                     12                   1     5s      30s");
    assert_eq!(seen[9], "QUEUE: 2");
    assert_eq!(seen[10], "The first waits for 1, and 0 are free.");
    assert_eq!(seen[11], "PLACE WHO                       PEER                 COUNT PRIO AGE     IN ABOUT");
    assert_eq!(seen[12], "1     -                         13                   1     5    2m 10s  1m 5s");
    assert_eq!(seen[13], "2     @w\\u{1b}[31m2             14                   3     0    20s     -");
    let wide = picture_of(&state, 110, 24, false);
    let row = |y| (0..110).map(|x| wide[(x, y)].symbol()).collect::<String>();
    assert!(row(6).ends_with("TOKEN           ") && row(7).ends_with("1795480000000001"), "{}", row(7));
    // The selection goes through both.
    type_in(&mut state, "jjj");
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.page(), Page::Peer("14".to_owned()));
    press(&mut state, KeyCode::Esc);
    assert_eq!((state.page(), state.selected()), (Page::Semaphore("A".to_owned()), Some(3)));
}

#[test]
fn the_head_of_a_queue_has_a_reason_to_wait() {
    let here = json!([{"semaphore": "A", "peer": "11", "count": 2, "since": ago(9), "labels": {}}]);
    let there = |labels: Value| json!([{"semaphore": "gpu-host", "peer": "99", "count": 2, "since": ago(9), "labels": labels}]);
    let closed = |kind| json!([{"kind": kind, "semaphore": "gpu-host", "peer": null, "count": 2, "since": null, "labels": {}}]);
    let nothing = || json!({});
    for (figures, waiter, blocked_by, expected) in [
        (nothing(), nothing(), here, "The first waits for 1, and 0 are free."),
        (
            json!({"acquired": 0, "cooling": 2}),
            nothing(),
            json!([]),
            "and 0 are free; more comes back by its rate.",
        ),
        (json!({"max": 0}), nothing(), json!([]), "Nobody gets it while it is paused."),
        (json!({"acquired": 1}), json!({"absent": true}), json!([]), "The first is absent, and passed over"),
        (json!({"acquired": 1}), json!({"count": 3}), json!([]), "The first asks for 3, more than there is"),
        (
            json!({"acquired": 1}),
            nothing(),
            there(json!({"program": "import.sh", "user": "jane", "host": "w1"})),
            "The first waits for 2 of gpu-host: import.sh jane@w1 holds it.",
        ),
        (json!({"acquired": 1}), nothing(), there(json!({})), "of gpu-host: peer 99 holds it."),
        (json!({"acquired": 1}), nothing(), closed("paused"), "of gpu-host: it is paused."),
        (json!({"acquired": 1}), nothing(), closed("rate"), "of gpu-host: more comes back by its rate."),
        (json!({"acquired": 1}), nothing(), closed("strike"), "of gpu-host: it is not to be had yet."),
    ] {
        let mut state = view();
        press(&mut state, KeyCode::Enter);
        state.learn(head_of_queue(figures, waiter, &blocked_by), now());
        shows(&state, &[expected]);
    }
}

#[test]
fn a_peer_and_who_is_in_its_way() {
    let mut state = view();
    state.open(Page::Peer("11".to_owned()));
    state.learn(peer("11", true), now());
    shows(
        &state,
        &[
            "made 1m 30s ago, its lease ends in 10s unless it is renewed",
            "host=w1",
            "1     7                1m 20s  A",
            "2     -                1m 20s  B",
            "WAITS FOR, for 1m 1s, at place 4, priority 1",
            "IN ITS WAY",
            "@w9                   holds  99                   1     9s      C",
        ],
    );
    press(&mut state, KeyCode::End);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.page(), Page::Peer("99".to_owned()));
    state.learn(News::Seen(state.page(), Sight::Missing("Peer 99 was released.".to_owned())), now());
    shows(&state, &["Peer 99 was released."]);
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Home);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.page(), Page::Semaphore("A".to_owned()));
}

#[test]
fn what_is_in_the_way_without_a_peer_leads_to_its_semaphore() {
    let mut state = view();
    state.open(Page::Peer("11".to_owned()));
    let News::Seen(page, Sight::Peer(mut waiter)) = peer("11", true) else { panic!("a peer") };
    let closed = |kind, name, count| json!({"kind": kind, "semaphore": name, "peer": null, "count": count, "since": null, "labels": {}});
    let mut rate = closed("rate", "D", 2);
    rate["until"] = json!("2026-03-03T19:02:45Z");
    let blocked_by = json!([closed("paused", "C", 1), rate, closed("strike", "E", 1)]);
    let pending = waiter.pending.as_mut().expect("it waits");
    pending.blocked_by = serde_json::from_value(blocked_by).expect("what is in the way");
    state.learn(News::Seen(page, Sight::Peer(waiter)), now());
    shows(
        &state,
        &[
            "-                     paused -                    1     -       C",
            "-                     rate   -                    2     in 3s   D",
            "-                     -      -                    1     -       E",
        ],
    );
    press(&mut state, KeyCode::End);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.page(), Page::Semaphore("E".to_owned()));
}

#[test]
fn the_selection_stays_where_it_is_put() {
    let mut state = view();
    press(&mut state, KeyCode::Down);
    assert_eq!(state.selected(), Some(1));
    let all = [semaphore("0", 1, 0, 0), semaphore("A", 1, 0, 0), semaphore("B", 1, 0, 0)];
    state.learn(listed(&all), now());
    assert_eq!(state.selected(), Some(2), "on B");
    state.learn(listed(&all[..2]), now());
    assert_eq!(state.selected(), Some(1), "on its neighbour, as B is gone");
    state.learn(listed(&[]), now());
    assert_eq!(state.selected(), None);
    for key in [KeyCode::Enter, KeyCode::Down, KeyCode::Char('r'), KeyCode::Char('m'), KeyCode::Char('p')] {
        assert_eq!(press(&mut state, key), None);
        assert_eq!((state.page(), &state.dialog), (Page::List, &None));
    }
    shows(&state, &["No semaphores."]);
}

#[test]
fn search_by_name() {
    let mut state = view();
    press(&mut state, KeyCode::Enter);
    type_in(&mut state, "/TENq");
    assert_eq!(state.page(), Page::List);
    shows(&state, &[" /TENq", "No name contains that"]);
    press(&mut state, KeyCode::Backspace);
    shows(&state, &[" 1 semaphore, 0 waited for, 0 overcommitted, by name, with \"TEN\"", "tenant/a"]);
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.page(), Page::Semaphore("tenant/a".to_owned()));
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.listed().count(), 1, "the search stays");
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.listed().count(), 3);
}

#[test]
fn sorted_by_what_hurts() {
    let mut state = view();
    let names =
        |state: &State| state.listed().map(|semaphore| semaphore.name.to_string()).collect::<Vec<_>>();
    state.learn(listed(&[semaphore("A", 9, 2, 0), semaphore("B", 9, 9, 0), semaphore("C", 9, 1, 1)]), now());
    press(&mut state, KeyCode::Char('s'));
    assert_eq!(names(&state), ["C", "A", "B"]);
    press(&mut state, KeyCode::Char('s'));
    assert_eq!(names(&state), ["B", "A", "C"]);
    state.learn(listed(&[semaphore("A", 9, 2, 0), semaphore("C", 9, 3, 0)]), now());
    assert_eq!(names(&state), ["C", "A"], "also what comes later");
    press(&mut state, KeyCode::Char('s'));
    assert_eq!(names(&state), ["A", "C"]);
}

#[test]
fn a_release_says_what_it_comes_to_and_asks() {
    let mut state = view();
    press(&mut state, KeyCode::Enter);
    state.learn(detail("A", 2), now());
    press(&mut state, KeyCode::Char('r'));
    assert_eq!(state.page(), Page::Peer("11".to_owned()), "where it is seen what it holds");
    shows(
        &state,
        &["Why is import.sh jane@w1 (peer 11) to be released?", "> throttle status --watch, by jane"],
    );
    for _ in 0.."jane".len() {
        press(&mut state, KeyCode::Backspace);
    }
    type_in(&mut state, "joe");
    press(&mut state, KeyCode::Enter);
    shows(&state, &["Asking the server what this will come to"]);
    assert_eq!(type_in(&mut state, "y"), [], "nobody agrees to what is not known");
    state.learn(peer("11", true), now());
    shows(
        &state,
        &[
            "Release @w1 (peer 11)? It loses 1 of \"A\", 2 of \"B\" at once",
            "It leaves the",
            "queue for \"C\", where it stands at 4",
            "y yes   n no",
        ],
    );
    press(&mut state, KeyCode::Enter);
    assert!(state.dialog.is_some(), "Enter alone is no answer");
    let released =
        Act::Release { peer: "11".to_owned(), reason: "throttle status --watch, by joe".to_owned() };
    assert_eq!(type_in(&mut state, "y"), [Effect::Act(released)]);
    assert_eq!(state.page(), Page::Semaphore("A".to_owned()));
    state.learn(News::Done(Ok("Peer 11 is released.".to_owned())), now());
    shows(&state, &[" Peer 11 is released."]);
    press(&mut state, KeyCode::Down);
    assert!(state.outcome.is_none(), "it was read");
}

#[test]
fn no_means_no() {
    let mut state = view();
    press(&mut state, KeyCode::Enter);
    state.learn(detail("A", 2), now());
    for answer in [KeyCode::Char('n'), KeyCode::Esc, KeyCode::Char('q')] {
        assert_eq!(press(&mut state, KeyCode::Char('p')), None);
        assert!(state.dialog.is_some());
        assert_eq!(press(&mut state, answer), None);
        assert!(state.dialog.is_none());
    }
    press(&mut state, KeyCode::Char('m'));
    type_in(&mut state, "qj1");
    shows(&state, &["> 1"]);
    press(&mut state, KeyCode::Esc);
    assert!(state.dialog.is_none());
    state.learn(News::Done(Err("The server is at a limit.".to_owned())), now());
    shows(&state, &[" The server is at a limit."]);
}

#[test]
fn a_resize_says_what_it_comes_to() {
    let resized = |from: i64, to: &str| {
        let mut state = view();
        press(&mut state, KeyCode::Char('m'));
        state.learn(detail("A", from), now());
        type_in(&mut state, to);
        press(&mut state, KeyCode::Enter);
        let question = state.dialog.as_ref().and_then(|dialog| dialog.question(&state)).expect("known");
        let [Effect::Act(act)] = &type_in(&mut state, "y")[..] else { panic!("{question}") };
        assert_eq!(*act, Act::Resize { semaphore: "A".to_owned(), max: to.parse().expect("a number") });
        question
    };
    let smaller = resized(2, "1");
    assert!(
        smaller.contains("from 2 to 1? 2 are held, which is 1 too many: nobody is interrupted"),
        "{smaller}"
    );
    assert!(
        smaller.contains("1 of those who wait asks for more than that, and is passed over."),
        "{smaller}"
    );
    let larger = resized(2, "7");
    assert!(larger.contains("5 come free for 2 waiting requests: those in front get it at once"), "{larger}");
    let paused = resized(2, "0");
    assert!(paused.contains("Nobody gets it from now on: 2 waiting requests keep their places"), "{paused}");
}

#[test]
fn a_pause_and_its_end() {
    let mut state = view();
    press(&mut state, KeyCode::Char('p'));
    state.learn(detail("A", 2), now());
    shows(&state, &["Pause \"A\"?"]);
    let paused = Act::Resize { semaphore: "A".to_owned(), max: 0 };
    assert_eq!(type_in(&mut state, "y"), [Effect::Act(paused)]);
    state.learn(detail("A", 0), now());
    shows(&state, &["2 held, PAUSED"]);
    press(&mut state, KeyCode::Esc);
    state.learn(listed(&[semaphore("A", 0, 2, 2), semaphore("B", 1, 3, 0)]), now());
    shows(&state, &["2 semaphores, 1 waited for, 1 overcommitted"]);
    press(&mut state, KeyCode::Char('p'));
    state.learn(detail("A", 0), now());
    shows(&state, &["What is the full count of \"A\" to be? Before the pause it was 2.", "> 2"]);
    press(&mut state, KeyCode::Enter);
    shows(&state, &["Set the full count of \"A\" from 0 to 2?"]);
}

#[test]
fn the_end_of_a_pause_that_nobody_here_saw_begin() {
    let mut state = State::new("http://here:8000".to_owned(), "jane".to_owned());
    state.learn(listed(&[semaphore("A", 0, 2, 2)]), now());
    press(&mut state, KeyCode::Char('p'));
    state.learn(detail("A", 0), now());
    shows(&state, &["What it was before the pause is not"]);
    press(&mut state, KeyCode::Enter);
    shows(&state, &["What is the full count of \"A\" to be?"]);
}

#[test]
fn a_line_that_is_cut_is_told_until_it_works_again() {
    let mut state = view();
    let since = now() - Duration::from_secs(12);
    state.learn(News::Failed("no connection to the server".to_owned()), since);
    state.learn(News::Failed("no connection to the server".to_owned()), now());
    shows(&state, &["NO CONNECTION for 12s, trying again; what is below is old.", "A     "]);
    assert_eq!(picture_of(&state, 80, 24, true)[(1, 1)].fg, Color::Red);
    state.learn(listed(&[semaphore("A", 2, 0, 0)]), now());
    shows(&state, &[" 1 semaphore, 0 waited for"]);
}

#[test]
fn the_way_out() {
    let mut state = view();
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(type_in(&mut state, "q"), [Effect::Quit]);
    press(&mut state, KeyCode::Char('m'));
    assert_eq!(state.press(interrupt), Some(Effect::Quit), "from anywhere");
    assert_eq!(state.press(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT)), None);
}
