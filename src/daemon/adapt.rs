//! What outputs and the encoder have to do with each other: adaptive ones push its bitrate down, and each carries what the
//! encoder that is on air makes.

use super::appliance::Appliance;
use crate::engine::ControlError;
use crate::output::{Scope, Way};
use crate::plan::Downstream;

impl Appliance {
    /// Looks whether adaptive outputs want another bitrate, and sets it. Says whether it did.
    pub(super) fn adapt_bitrate(&mut self) -> bool {
        let now = self.now();
        let Some((scope, graph)) = self.scope().zip(self.encode.graph()) else { return false };
        let ways: Vec<Way> = self.outputs.iter().filter_map(|output| output.way()).collect();
        let Some(bitrate) = self.adapt.on(now, scope, &ways) else { return false };
        match graph.set_bitrate(bitrate) {
            Ok(()) => {}
            Err(ControlError::TooSoon(_)) => return false,
            Err(error) => {
                tracing::debug!(%bitrate, %error, "the bitrate cannot be adapted");
                return false;
            }
        }
        self.adapt.took(now, scope.present, bitrate);
        self.encode.lower_bitrate((bitrate < scope.most).then_some(bitrate));
        let narrowest = ways.iter().min_by_key(|way| way.estimate);
        let estimate = narrowest.map(|way| tracing::field::display(way.estimate));
        if scope.present == scope.most {
            let output = self.adapt.limiter().unwrap_or_default();
            tracing::info!(
                output,
                estimate,
                "the picture is now encoded at {bitrate}, which its way carries"
            );
        } else if bitrate == scope.most {
            tracing::info!("the picture is encoded at {bitrate} again");
        } else {
            tracing::debug!(estimate, "the picture is now encoded at {bitrate}");
        }
        true
    }

    /// Says where the encoder cannot do what the outputs are configured to ask of it.
    pub(super) fn warn_of_a_fixed_bitrate(&self) {
        let plan = self.encode.plan();
        if plan.control.bitrate.is_none() && self.config.outputs.iter().any(|output| output.adaptive) {
            let encoder = &plan.fragment;
            tracing::warn!(
                "`{encoder}` cannot change its bitrate while it runs: `adaptive` has no effect with it"
            );
        }
    }

    /// The adaptive output that keeps the bitrate down.
    pub(super) fn limiter(&self) -> Option<&str> {
        self.adapt.limiter().filter(|_| self.scope().is_some())
    }

    /// What the encoder can be told now; none while it does not run or cannot be told, or nobody adapts.
    fn scope(&self) -> Option<Scope> {
        if !self.encode.phase().is_flowing() || !self.outputs.iter().any(|output| output.is_adaptive()) {
            return None;
        }
        let plan = self.encode.plan();
        let control = plan.control.bitrate.as_ref()?;
        let Downstream::Video { bitrate: planned, .. } = plan.downstream else { return None };
        let most = self.encode.bitrate().unwrap_or(planned);
        Some(Scope {
            least: self.profile.video.min_bitrate.max(control.range.0),
            most,
            present: self.encode.bitrate_in_force().unwrap_or(planned),
            spacing: control.min_interval,
        })
    }
}
