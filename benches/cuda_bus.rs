//! C6-bus: the rate at which page-locked memory is copied to a CUDA card, and back: the ceiling of every other figure.

#[path = "common/bus.rs"]
mod bus;

/// `cuda_bus [ID]`: one row, or both.
fn main() {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("C6")).unwrap_or_default();
    let bus::Bus { card, to_device, from_device } = match bus::measure() {
        Ok(bus) => bus,
        Err(why) => return eprintln!("SKIP C6-bus: {why}"),
    };
    let card = card.replace(['"', '\\'], "");
    for (id, rate) in [("C6-bus", to_device), ("C6-bus-back", from_device)] {
        if !wanted.is_empty() && wanted != id {
            continue;
        }
        println!(
            "{{\"id\":\"{id}\",\"value\":{:.3},\"unit\":\"GB/s\",\"peer\":null,\"version\":null,\"peer_value\":null,\
             \"ratio\":null,\"bound\":null,\"ok\":true,\"why\":\"copies of {} MiB of page-locked memory\",\
             \"rounds\":{},\"machine\":\"{card}\"}}",
            rate / 1e9,
            bus::BYTES >> 20,
            bus::PASSES,
        );
    }
}
