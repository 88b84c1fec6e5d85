//! The list of profiles, for people and for programs.

use serde_json::{Value as Json, json};

use crate::plan::Offer;

/// A table, the active one marked by `*`; below it what is missing for those that cannot run here.
pub fn offers_text(offers: &[Offer]) -> String {
    let mut rows =
        vec![["", "PROFILE", "CODEC", "ENCODER", "SIZE", "RATE", "BITRATE", "RUNS HERE"].map(str::to_owned)];
    rows.extend(offers.iter().map(|offer| {
        [
            if offer.active { "*" } else { "" }.to_owned(),
            offer.name.clone(),
            offer.codec.title().to_owned(),
            offer.encoder.clone(),
            offer.size.map_or_else(|| "source".to_owned(), |size| size.to_string()),
            offer.framerate.to_string(),
            offer.bitrate.to_string(),
            if offer.missing.is_empty() { "yes" } else { "no" }.to_owned(),
        ]
    }));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    for offer in offers.iter().filter(|offer| !offer.missing.is_empty()) {
        out.push_str(&format!("\n{}:\n", offer.name));
        for error in &offer.missing {
            out.push_str(&format!("  {error}\n"));
            if let Some(hint) = error.hint() {
                out.push_str(&format!("  hint: {hint}\n"));
            }
        }
    }
    out
}

/// `[{name, summary, codec, encoder, size, framerate, bitrate, runs, tried, missing: [{message, hint}], active}]`
pub fn offers_json(offers: &[Offer]) -> Json {
    let missing = |offer: &Offer| -> Vec<Json> {
        let error =
            |error: &crate::plan::PlanError| json!({ "message": error.to_string(), "hint": error.hint() });
        offer.missing.iter().map(error).collect()
    };
    let offer = |offer: &Offer| {
        json!({
            "name": offer.name,
            "summary": offer.summary,
            "codec": offer.codec.as_str(),
            "encoder": offer.encoder,
            "size": offer.size.map(|size| size.to_string()),
            "framerate": offer.framerate.to_string(),
            "bitrate": offer.bitrate.bits(),
            "runs": offer.missing.is_empty(),
            "tried": offer.tried,
            "missing": missing(offer),
            "active": offer.active,
        })
    };
    Json::Array(offers.iter().map(offer).collect())
}
