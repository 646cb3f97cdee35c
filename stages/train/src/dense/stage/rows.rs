//! What trained heads and their verdict become in tables.

use schemas::tables::{Heads, Losses, Replicates, Scores};

use super::super::confusion::Counts;
use super::super::evaluate::{Estimated, Tally, Verdict, over_depth, over_segments};
use super::super::fit::Training;
use super::super::recipe::Task;
use super::HeadParams;

impl HeadParams {
    /// Rows of `scores` and of `replicates`.
    pub(super) fn scores(&self, verdict: &Verdict, images: u64) -> (Scores, Replicates) {
        let params = self;
        let note = if params.permute_labels { "control: truths exchanged among the training images" } else { "" };
        let mut rows = Rows {
            scores: Scores::default(),
            replicates: Replicates::default(),
            site: params.sites.join("+"),
            images,
            note,
        };
        let draws = params.seeds.len() as u32;
        let (constant, layout) = ([&verdict.constant], [&verdict.layout]);
        let heads: Vec<&Tally> = verdict.heads.iter().collect();
        match &params.recipe.task {
            Task::Segments(task) => {
                for (subject, tallies, draws) in [
                    (params.name.as_str(), &heads[..], draws),
                    ("majority", &constant[..], 1),
                    ("layout", &layout[..], 1),
                ] {
                    let counts = segments_of(tallies);
                    rows.push(
                        ("segmentation", subject, "miou_frac"),
                        over_segments(&counts, |c| c.miou(task.miou)),
                        draws,
                    );
                    rows.push(
                        ("segmentation", subject, "accuracy_frac"),
                        over_segments(&counts, Counts::accuracy),
                        draws,
                    );
                    let mean = over_segments(&counts, Counts::mean_accuracy);
                    rows.push(("segmentation", subject, "mean_accuracy_frac"), mean, draws);
                }
                let counts = segments_of(&heads);
                for class in 0..task.miou.judged(task.labels.classes) {
                    let subject = format!("class_{}", params.class_name(class));
                    let iou = over_segments(&counts, |c| c.iou(class, task.miou));
                    rows.push(("segmentation", &subject, "iou_frac"), iou, draws);
                    let recall = over_segments(&counts, |c| c.recall(class));
                    rows.push(("segmentation", &subject, "accuracy_frac"), recall, draws);
                }
            }
            Task::Depth(_) => {
                for (subject, tallies, draws) in [
                    (params.name.as_str(), &heads[..], draws),
                    ("constant", &constant[..], 1),
                    ("layout", &layout[..], 1),
                ] {
                    let images = depth_of(tallies);
                    for (which, metric) in ["rmse_m", "abs_rel_frac", "delta1_frac"].into_iter().enumerate() {
                        rows.push(("depth", subject, metric), over_depth(&images, which), draws);
                    }
                }
            }
        }
        (rows.scores, rows.replicates)
    }

    /// Rows of `heads` and of `losses`.
    pub(super) fn tables(&self, heads: &[Training]) -> (Heads, Losses) {
        let (mut tensors, mut losses) = (Heads::default(), Losses::default());
        for (i, head) in heads.iter().enumerate() {
            let name: schemas::Name = self.head(i).into();
            for tensor in head.net.tensors.iter().chain(&head.net.buffers) {
                tensors.head.push(name.clone());
                tensors.tensor.push(tensor.name.into());
                tensors.shape.push(tensor.shape_name().into());
                tensors.values.push(tensor.values.clone());
            }
            for &(step, loss, rate) in &head.losses {
                losses.head.push(name.clone());
                losses.step.push(step);
                losses.loss.push(loss);
                losses.learning_rate.push(rate);
            }
        }
        (tensors, losses)
    }
}

fn segments_of<'a>(tallies: &[&'a Tally]) -> Vec<&'a [Counts]> {
    let own = |t: &&'a Tally| if let Tally::Segments(groups) = *t { Some(&groups[..]) } else { None };
    tallies.iter().filter_map(own).collect()
}

fn depth_of<'a>(tallies: &[&'a Tally]) -> Vec<&'a [(usize, [f64; 3])]> {
    let own = |t: &&'a Tally| if let Tally::Depth(images) = *t { Some(&images[..]) } else { None };
    tallies.iter().filter_map(own).collect()
}

struct Rows<'a> {
    scores: Scores,
    replicates: Replicates,
    site: String,
    images: u64,
    note: &'a str,
}

impl Rows<'_> {
    fn push(&mut self, (experiment, subject, metric): (&str, &str, &str), found: Estimated, draws: u32) {
        let scores = &mut self.scores;
        scores.experiment.push(experiment.into());
        scores.subject.push(subject.into());
        scores.site.push(self.site.as_str().into());
        scores.metric.push(metric.into());
        scores.value.push(found.value.filter(|v| v.is_finite()));
        scores.std.push(found.std);
        scores.stderr.push(found.stderr);
        scores.n.push(self.images);
        scores.draws.push(draws);
        scores.images_without.push(0);
        scores.c.push(None);
        scores.converged.push(true);
        scores.note.push(self.note.into());
        // Models are compared by these; a class alone, or an answer without a picture, is not.
        if matches!(metric, "miou_frac" | "accuracy_frac" | "rmse_m" | "abs_rel_frac")
            && !subject.starts_with("class_")
            && !matches!(subject, "majority" | "constant" | "layout")
        {
            let groups = found.without.len() as u32;
            for (group, value) in (0..).zip(found.without) {
                let rows = &mut self.replicates;
                rows.experiment.push(experiment.into());
                rows.subject.push(subject.into());
                rows.site.push(self.site.as_str().into());
                rows.metric.push(metric.into());
                rows.group.push(group);
                rows.groups.push(groups);
                rows.value.push(value);
                rows.n.push(self.images);
            }
        }
    }
}
