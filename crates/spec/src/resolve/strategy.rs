//! How many instances, and how one version replaces another.

use super::Context;
use crate::code::Code;
use crate::raw::{
    AmountText, At, Canary as RawCanary, Either, Rolling, Settings, StickyName, StrategyMap, StrategyName,
};
use crate::source::Place;
use deployctl_core::config::{Amount, Analysis, Canary, Sticky, Strategy};
use deployctl_core::time::Span;

const INSTANCES_MAX: u32 = 1000;

pub(super) fn instances(settings: &Settings, cx: &mut Context<'_, '_>) -> u32 {
    let Some(instances) = &settings.instances else { return 1 };
    match instances.value {
        0 => {
            let help = "at least 1; `deployctl down` stops an app and keeps its data";
            cx.findings.error_help(instances.at, Code::BadValue, "no instances at all is no deployment", help);
        }
        many if many > INSTANCES_MAX => {
            cx.findings.error(instances.at, Code::BadValue, format!("at most {INSTANCES_MAX} instances"));
        }
        many if many > 1 => {
            if let Some((what, app)) = cx.alone() {
                let message = format!("{many} instances would use one {what} at the same time");
                cx.findings.error_help(instances.at, Code::SharedData, message, format!("{app} has 1 instance"));
            }
        }
        _ => {}
    }
    instances.value
}

pub(super) fn strategy(settings: &Settings, routed: bool, cx: &mut Context<'_, '_>) -> Strategy {
    let Some(said) = &settings.strategy else {
        return if cx.alone().is_some() { Strategy::Recreate } else { rolling(None, cx) };
    };
    let strategy = match &said.value {
        Either::Short(StrategyName::Recreate) => Strategy::Recreate,
        Either::Short(StrategyName::Rolling) => rolling(None, cx),
        Either::Short(StrategyName::BlueGreen) => Strategy::BlueGreen,
        Either::Short(StrategyName::Canary) => Strategy::Canary(canary(&RawCanary::default(), cx)),
        Either::Full(map) => full(map, said.at, cx),
    };
    if matches!(strategy, Strategy::Canary(_)) && !routed {
        let message = "a canary takes a share of the traffic, and this app has no `route`";
        cx.findings.error_help(said.at, Code::Contradiction, message, "add a `route`, or use `rolling`");
    }
    if let (true, Some((what, app))) = (strategy != Strategy::Recreate, cx.alone()) {
        let message = format!("the old and the new version would use one {what} at the same time");
        cx.findings.error_help(said.at, Code::SharedData, message, format!("{app} needs `recreate`"));
    }
    strategy
}

fn full(map: &StrategyMap, at: Place, cx: &mut Context<'_, '_>) -> Strategy {
    let mut said: Vec<(Place, Strategy)> = Vec::new();
    if let Some(recreate) = &map.recreate {
        said.push((recreate.at, Strategy::Recreate));
    }
    if let Some(raw) = &map.rolling {
        said.push((raw.at, rolling(Some(raw), cx)));
    }
    if let Some(raw) = &map.blue_green {
        said.push((raw.at, Strategy::BlueGreen));
    }
    if let Some(raw) = &map.canary {
        said.push((raw.at, Strategy::Canary(canary(&raw.value, cx))));
    }
    let names = "one of `recreate`, `rolling`, `blue-green` and `canary`";
    if said.is_empty() {
        let help = "without settings, write only the name: `strategy: rolling`";
        cx.findings.error_help(at, Code::MissingKey, format!("a strategy is {names}"), help);
    }
    if let Some((second, _)) = said.get(1) {
        cx.findings.error(*second, Code::Contradiction, format!("a strategy is {names}, not two"));
    }
    said.into_iter().next().map_or(Strategy::Recreate, |(_, strategy)| strategy)
}

fn rolling(raw: Option<&At<Rolling>>, cx: &mut Context<'_, '_>) -> Strategy {
    let (surge, unavailable) = match raw {
        None => (None, None),
        Some(raw) => (raw.value.surge.as_ref(), raw.value.unavailable.as_ref()),
    };
    let unavailable_amount = amount(unavailable, Amount::Count(0), cx);
    let surge_amount = amount(surge, Amount::Percent(25), cx);
    let none = |amount: Amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
    if let Some(at) = surge.map(|x| x.at).filter(|_| none(surge_amount) && none(unavailable_amount)) {
        let message = "with no surge and none unavailable nothing can move";
        cx.findings.error_help(at, Code::Contradiction, message, "let one of them be at least 1");
    }
    Strategy::Rolling { surge: surge_amount, unavailable: unavailable_amount }
}

fn amount(text: Option<&At<AmountText>>, default: Amount, cx: &mut Context<'_, '_>) -> Amount {
    let Some(text) = text else { return default };
    match crate::value::amount(&text.value.0) {
        Ok(amount) => amount,
        Err(why) => {
            cx.findings.error(text.at, Code::BadValue, why);
            default
        }
    }
}

fn canary(raw: &RawCanary, cx: &mut Context<'_, '_>) -> Canary {
    let steps = steps(raw, cx);
    let analysis = raw.analysis.as_ref().map(|analysis| {
        let requests_min = analysis.value.requests_min.as_ref();
        if let Some(zero) = requests_min.filter(|min| min.value == 0) {
            cx.findings.error(zero.at, Code::BadValue, "no requests prove nothing; at least 1");
        }
        Analysis { requests_min: requests_min.map_or(100, |min| min.value) }
    });
    let sticky = raw.sticky.as_ref().map(|sticky| match &sticky.value {
        Either::Short(StickyName::Cookie) => Sticky::Cookie,
        Either::Full(map) => {
            let name = map.header.value.0.to_ascii_lowercase();
            let token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || name.len() > 64 || !name.chars().all(token) {
                let message = format!("`{}` is not the name of a header", crate::text::shorten(&name));
                cx.findings.error(map.header.at, Code::BadName, message);
            }
            Sticky::Header(name)
        }
    });
    Canary { steps, hold: cx.span(raw.hold.as_ref(), Span::secs(30)), analysis, sticky }
}

fn steps(raw: &RawCanary, cx: &mut Context<'_, '_>) -> Vec<u32> {
    let Some(said) = &raw.steps else { return vec![1_000, 5_000] };
    if said.value.is_empty() {
        cx.findings.error(said.at, Code::BadValue, "a canary needs at least one step, such as `[10%]`");
    }
    let mut steps: Vec<u32> = Vec::new();
    for text in &said.value {
        let share = match crate::value::share(&text.value.0) {
            Ok(share) => share,
            Err(why) => {
                cx.findings.error(text.at, Code::BadValue, why);
                continue;
            }
        };
        if share > 10_000 {
            cx.findings.error(text.at, Code::BadValue, format!("`{}` is more than 100%", text.value.0));
        } else if share == 10_000 {
            let message = "the step to 100% follows by itself";
            cx.findings.error_help(text.at, Code::BadValue, message, "leave it out");
        } else if share == 0 || steps.last().is_some_and(|last| *last >= share) {
            cx.findings.error(text.at, Code::BadValue, "the steps of a canary must rise, from above 0%");
        }
        steps.push(share);
    }
    steps
}

/// How long the old version stays warm.
pub(super) fn bake(settings: &Settings, cx: &mut Context<'_, '_>) -> Span {
    let inner = match settings.strategy.as_ref().map(|strategy| &strategy.value) {
        Some(Either::Full(StrategyMap { blue_green: Some(blue_green), .. })) => blue_green.value.bake.as_ref(),
        _ => None,
    };
    if let (Some(_), Some(inner)) = (&settings.bake, inner) {
        cx.findings.error(inner.at, Code::Contradiction, "`bake` is said twice: here and for the app");
    }
    cx.span(inner.or(settings.bake.as_ref()), Span::ms(0))
}
