//! Five-field schedules in a time zone: when something is due.
//!
//! Why behind one door: gates follow schedules, and whatever follows one later has to read it in the same way.
//! Invariants: exactly five fields; what was missed while nobody looked is due once, not once for each time.

use jiff::Timestamp;

/// A schedule that was checked.
#[derive(Clone, Debug)]
pub struct Schedule(cronexpr::Crontab);

impl Schedule {
    /// Reads `minute hour day-of-month month day-of-week`; without a zone in UTC.
    pub fn parse(schedule: &str, zone: Option<&str>) -> Result<Self, String> {
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        if fields.len() != 5 {
            return Err(format!(
                "is `{schedule}`, which has {} fields; write five, such as `0 3 * * *` for 03:00 each day",
                fields.len()
            ));
        }
        let text = format!("{} {}", fields.join(" "), zone.unwrap_or("UTC"));
        let read = cronexpr::parse_crontab(&text).map_err(|error| {
            let told = error.to_string();
            let why = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
            format!(
                "is `{text}`, which cannot be read ({why}); write five fields such as `0 3 * * *`, and an IANA zone"
            )
        })?;
        Ok(Self(read))
    }

    /// The first time after `moment`; `None`: never again.
    pub fn next(&self, moment: Timestamp) -> Option<Timestamp> {
        self.0.find_next(cronexpr::MakeTimestamp(moment)).ok().map(|next| next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: Option<&str>, moment: &str) -> String {
        Schedule::parse(schedule, zone).unwrap().next(moment.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn five_fields_in_a_zone() {
        assert_eq!(next("0 3 * * *", None, "2026-01-01T03:00:00Z"), "2026-01-02T03:00:00Z");
        assert_eq!(next("0 3 * * *", Some("Europe/Berlin"), "2026-07-01T00:00:00Z"), "2026-07-01T01:00:00Z");
        assert_eq!(next("*/15  9-17 * * 1-5", None, "2026-01-02T17:50:00Z"), "2026-01-05T09:00:00Z");
        // In the night when clocks go forward 02:30 does not exist.
        let skipped = next("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z");
        assert!(skipped.as_str() > "2026-03-29T00:00:00Z" && skipped.as_str() < "2026-03-30T02:00:00Z", "{skipped}");
    }

    #[test]
    fn what_is_no_schedule_says_what_to_write() {
        for (schedule, zone, said) in [
            ("0 3 * *", None, "has 4 fields"),
            ("0 0 3 * * *", None, "has 6 fields"),
            ("0 3 * * * UTC", None, "has 6 fields"),
            ("61 3 * * *", None, "cannot be read"),
            ("0 3 * * *", Some("Mars/Olympus"), "cannot be read"),
            ("", None, "has 0 fields"),
        ] {
            let error = Schedule::parse(schedule, zone).unwrap_err();
            assert!(error.contains(said) && error.contains("0 3 * * *"), "{schedule}: {error}");
        }
    }
}
