//! The specification of windows against tables worked out by hand, and the generators against their promises.

mod spec;

#[test]
fn placeholder() {
    let s = spec::scenario::Scenario::million(1);
    let t = std::time::Instant::now();
    let a = s.actions();
    let t1 = t.elapsed();
    let o = spec::windows::answer(&s.query, &a);
    println!("{t1:?} {:?} {} {:?}", t.elapsed(), o.rows.len(), o.counters);
}
