#include "tests/crash/ledger.h"

#include <google/protobuf/util/message_differencer.h>

#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/watched_job.h"

namespace convd {
namespace {

std::string Differences(const v1::Job& before, const v1::Job& now) {
  std::string text;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&text);
  return differencer.Compare(before, now) ? "" : text;
}

}  // namespace

void Ledger::Sent(const std::string& request_id, size_t kind) {
  absl::MutexLock lock(&mu_);
  unanswered_[request_id] = kind;
  sent_[request_id] = {kind, life_};
}

void Ledger::Accepted(const std::string& request_id, const v1::Job& job, uint64_t asked_at) {
  absl::MutexLock lock(&mu_);
  unanswered_.erase(request_id);
  const auto [earlier, first] = job_of_request_.emplace(request_id, job.id());
  if (!first && earlier->second != job.id()) {
    FaultLocked(absl::StrCat("request ", request_id, " made job ", earlier->second,
                             ", and repeated, job ", job.id()));
    return;
  }
  Entry& entry = jobs_[job.id()];
  if (first && !entry.id.empty()) {
    FaultLocked(absl::StrCat("requests ", entry.request_id, " and ", request_id, " made one job, ",
                             job.id()));
    return;
  }
  if (first) {
    entry.id = job.id();
    entry.request_id = request_id;
    const SentRequest& sent = sent_.at(request_id);
    entry.kind = sent.kind;
    entry.request = job.request();
    // It may have run in each life since.
    entry.kills_since_checkpoint = life_ - sent.life;
  }
  ShownLocked(job, true, asked_at);
}

void Ledger::Asked(const std::string& id, Action action, int32_t priority) {
  absl::MutexLock lock(&mu_);
  Entry& entry = jobs_.at(id);
  entry.maybe_life = life_;
  switch (action) {
    case Action::kPause:
      entry.maybe_paused = true;
      break;
    case Action::kResume:
      entry.maybe_resumed = true;
      break;
    case Action::kCancel:
      entry.maybe_cancelled = true;
      break;
    case Action::kPriority:
      entry.maybe_priority = priority;
      break;
  }
}

void Ledger::Answered(const std::string& id, Action action, const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  Entry& entry = jobs_.at(id);
  const bool done = status.ok();
  if (action == Action::kPriority) {
    if (done) entry.priority = *entry.maybe_priority;
    entry.maybe_priority.reset();
    return;
  }
  if (done) {
    entry.wish = action == Action::kPause    ? Wish::kPause
                 : action == Action::kCancel ? Wish::kCancel
                                             : Wish::kNone;
    entry.wish_life = life_;
    if (action != Action::kResume && entry.state == v1::JOB_STATE_SUCCEEDED) {
      FaultLocked(absl::StrCat("job ", id, " has succeeded, and was paused or cancelled after it"));
    }
  }
  if (action == Action::kPause) entry.maybe_paused = false;
  if (action == Action::kResume) entry.maybe_resumed = false;
  if (action == Action::kCancel) entry.maybe_cancelled = false;
}

uint64_t Ledger::Now() {
  absl::MutexLock lock(&mu_);
  return now_++;
}

void Ledger::Shown(const v1::Job& job, bool whole, uint64_t asked_at) {
  absl::MutexLock lock(&mu_);
  ShownLocked(job, whole, asked_at);
}

void Ledger::ShownLocked(const v1::Job& job, bool whole, uint64_t asked_at) {
  const auto found = jobs_.find(job.id());
  if (found == jobs_.end()) {
    // The answer to its request was lost, and the repetition comes later.
    if (sent_.count(job.request().request_id()) == 0) {
      FaultLocked(absl::StrCat("job ", job.id(), " was made by nobody"));
    }
    return;
  }
  Entry& entry = found->second;
  if (entry.ended_at != 0) {
    CheckEnded(entry, job, whole, asked_at);
    return;
  }
  if (!google::protobuf::util::MessageDifferencer::Equals(entry.request, job.request())) {
    FaultLocked(absl::StrCat("job ", job.id(), " has another request than at first"));
  }
  if (job.attempts() < entry.attempts) {
    FaultLocked(
        absl::StrCat("job ", job.id(), " had ", entry.attempts, " attempts, now ", job.attempts()));
  }
  SettleMaybes(entry, job);
  CheckState(entry, job);
  entry.attempts = job.attempts();
  entry.state = job.state();
  if (whole) {
    for (const v1::EpochRecord& record : job.history()) ShownEpoch(entry, record);
    for (const auto& [epoch, kept] : entry.epochs) {
      if (kept.shown_at <= asked_at && epoch > job.history_size()) {
        FaultLocked(absl::StrCat("job ", job.id(), " has lost the record of epoch ", epoch));
      }
    }
  }
  if (!HasEnded(job.state())) return;
  entry.ended_at = ++now_;
  if (whole) entry.ended = job;
  if (job.state() == v1::JOB_STATE_SUCCEEDED) AddVersion(job.result(), job.id());
}

void Ledger::CheckEnded(Entry& entry, const v1::Job& job, bool whole, uint64_t asked_at) {
  if (!HasEnded(job.state()) && asked_at < entry.ended_at) return;  // older news
  if (job.state() != entry.state) {
    FaultLocked(absl::StrCat("job ", job.id(), " had ended as ", v1::JobState_Name(entry.state),
                             ", and is now ", v1::JobState_Name(job.state())));
    return;
  }
  if (!whole) return;
  if (!entry.ended.has_value()) entry.ended = job;
  if (const std::string text = Differences(*entry.ended, job); !text.empty()) {
    FaultLocked(absl::StrCat("job ", job.id(), " has changed after its end: ", text));
  }
  for (const auto& [epoch, kept] : entry.epochs) {
    if (epoch > job.history_size() || !SameFigures(kept.record, job.history(epoch - 1))) {
      FaultLocked(absl::StrCat("job ", job.id(), " has another epoch ", epoch, " than was shown"));
    }
  }
}

void Ledger::SettleMaybes(Entry& entry, const v1::Job& job) {
  if (entry.maybe_life == life_) return;
  if (entry.maybe_resumed && job.state() != v1::JOB_STATE_PAUSED) entry.wish = Wish::kNone;
  if (entry.maybe_paused && job.state() == v1::JOB_STATE_PAUSED) entry.wish = Wish::kPause;
  if (entry.maybe_cancelled && job.state() == v1::JOB_STATE_CANCELLED) entry.wish = Wish::kCancel;
  if (entry.maybe_priority == job.priority()) entry.priority = job.priority();
  entry.maybe_resumed = entry.maybe_paused = entry.maybe_cancelled = false;
  entry.maybe_priority.reset();
}

void Ledger::CheckState(Entry& entry, const v1::Job& job) {
  const auto fault = [&](const std::string& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    FaultLocked(
        absl::StrCat("job ", job.id(), " is ", v1::JobState_Name(job.state()), ", but ", why));
  };
  if (job.priority() != entry.priority && entry.maybe_priority != job.priority()) {
    fault(absl::StrCat("has priority ", job.priority(), " instead of ", entry.priority));
  }
  const bool must_pause = entry.wish == Wish::kPause && !entry.maybe_resumed;
  const bool must_end = entry.wish == Wish::kCancel;
  switch (job.state()) {
    case v1::JOB_STATE_RUNNING:
      // What is asked of a running job comes to pass at its next cut, or the next start.
      if ((must_pause || must_end) && entry.wish_life != life_) {
        fault("was paused or cancelled before the server was killed");
      }
      break;
    case v1::JOB_STATE_QUEUED:
      if (must_pause || must_end) fault("was paused or cancelled");
      break;
    case v1::JOB_STATE_PAUSED:
      if (must_end) fault("was cancelled");
      if (entry.wish != Wish::kPause && !entry.maybe_paused) fault("nobody paused it");
      if (job.has_error()) fault(absl::StrCat("has the error: ", job.error().message()));
      break;
    case v1::JOB_STATE_CANCELLED:
      if (!must_end && !entry.maybe_cancelled) fault("nobody cancelled it");
      break;
    case v1::JOB_STATE_SUCCEEDED:
      if (must_pause || must_end) fault("was paused or cancelled");
      break;
    case v1::JOB_STATE_FAILED:
      // It was running at no fewer than three of the kills since its last checkpoint.
      if (job.error().code() != static_cast<int>(absl::StatusCode::kAborted) ||
          !absl::StartsWith(job.error().message(), "the server ended ") ||
          entry.kills_since_checkpoint < 3) {
        fault(absl::StrCat("there were ", entry.kills_since_checkpoint,
                           " kills since its last checkpoint; its error: ", job.error().message()));
      }
      break;
    default:
      fault("that is no state");
  }
}

void Ledger::Watched(const v1::JobEvent& event, const std::string& id) {
  absl::MutexLock lock(&mu_);
  if (event.has_epoch()) ShownEpoch(jobs_.at(id), event.epoch());
  if (event.has_job() && HasEnded(event.job().state())) ShownLocked(event.job(), true, now_++);
}

void Ledger::ShownEpoch(Entry& entry, const v1::EpochRecord& record) {
  const v1::ModelCard& card = kinds_[entry.kind].card;
  const bool known = record.epoch() >= 1 && record.epoch() <= card.history_size();
  if (!known || !SameFigures(card.history(static_cast<int>(record.epoch() - 1)), record)) {
    FaultLocked(absl::StrCat("job ", entry.id, " (", card.model().name(), "): epoch ",
                             record.epoch(),
                             " isn't the undisturbed run's: ", record.ShortDebugString()));
  }
  const auto [kept, first] = entry.epochs.try_emplace(record.epoch());
  if (first) {
    kept->second.record = record;
    kept->second.shown_at = ++now_;
  }
}

void Ledger::ShownVersion(const v1::ModelVersion& version, const std::string& job_id) {
  absl::MutexLock lock(&mu_);
  // A version is there a little before its job's end, and its job before the answer to its request.
  if (jobs_.count(job_id) > 0) AddVersion(version, job_id);
}

void Ledger::AddVersion(const v1::ModelVersion& version, const std::string& job_id) {
  for (const auto& [id, known] : versions_) {
    if (known.job_id != job_id || id == VersionId(version.name(), version.version())) continue;
    FaultLocked(absl::StrCat("job ", job_id, " has published both ", id.first, ":", id.second,
                             " and ", version.name(), ":", version.version()));
  }
  const auto [known, first] =
      versions_.emplace(VersionId(version.name(), version.version()), Version{job_id, 0});
  if (!first && known->second.job_id != job_id) {
    FaultLocked(absl::StrCat(version.name(), ":", version.version(), " is job ", job_id,
                             "'s and was job ", known->second.job_id, "'s"));
  }
  known->second.kind = jobs_.at(job_id).kind;
}

void Ledger::BeginLife() {
  absl::MutexLock lock(&mu_);
  ++life_;
}

void Ledger::Killed(const std::map<std::string, int64_t>& checkpoints) {
  absl::MutexLock lock(&mu_);
  for (auto& [id, entry] : jobs_) {
    if (entry.ended_at != 0) continue;
    const auto found = checkpoints.find(id);
    const int64_t newest = found == checkpoints.end() ? 0 : found->second;
    // A checkpoint's file is there before the store knows that the job got on: a kill in between
    // counts for the server.
    if (newest > entry.newest_checkpoint) entry.kills_since_checkpoint = 0;
    // Where it had paused or only waited it counts, too: what it was isn't known for sure.
    ++entry.kills_since_checkpoint;
    entry.newest_checkpoint = newest;
  }
}

void Ledger::Fault(const std::string& text) {
  absl::MutexLock lock(&mu_);
  FaultLocked(text);
}

void Ledger::FaultLocked(const std::string& text) {
  faults_.push_back(absl::StrCat("life ", life_, ": ", text));
  std::fprintf(stderr, "FAULT %s\n", faults_.back().c_str());
}

std::map<Ledger::VersionId, Ledger::Version> Ledger::versions() {
  absl::MutexLock lock(&mu_);
  return versions_;
}

std::vector<std::string> Ledger::Jobs(bool ended) {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> ids;
  for (const auto& [id, entry] : jobs_) {
    if ((entry.ended_at != 0) == ended) ids.push_back(id);
  }
  return ids;
}

std::map<std::string, size_t> Ledger::unanswered() {
  absl::MutexLock lock(&mu_);
  return unanswered_;
}

v1::TrainRequest Ledger::Request(const std::string& request_id) {
  absl::MutexLock lock(&mu_);
  v1::TrainRequest request = kinds_[sent_.at(request_id).kind].request;
  request.set_request_id(request_id);
  return request;
}

std::string Ledger::ARequestId(const std::string& job_id) {
  absl::MutexLock lock(&mu_);
  return jobs_.at(job_id).request_id;
}

v1::JobState Ledger::State(const std::string& id) {
  absl::MutexLock lock(&mu_);
  return jobs_.at(id).state;
}

bool Ledger::Known(const std::string& id) {
  absl::MutexLock lock(&mu_);
  return jobs_.count(id) > 0;
}

size_t Ledger::requests() {
  absl::MutexLock lock(&mu_);
  return sent_.size();
}

Ledger::Totals Ledger::totals() {
  absl::MutexLock lock(&mu_);
  Totals totals;
  for (const auto& [id, entry] : jobs_) {
    ++totals.jobs;
    if (entry.state == v1::JOB_STATE_SUCCEEDED) ++totals.succeeded;
    if (entry.state == v1::JOB_STATE_CANCELLED) ++totals.cancelled;
    if (entry.state == v1::JOB_STATE_FAILED) ++totals.given_up;
    if (entry.attempts > 1) ++totals.resumed;
    totals.epochs += static_cast<int64_t>(entry.epochs.size());
  }
  return totals;
}

std::vector<std::string> Ledger::faults() {
  absl::MutexLock lock(&mu_);
  return faults_;
}

}  // namespace convd
