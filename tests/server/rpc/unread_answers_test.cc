#include "server/rpc/unread_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace convd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class UnreadAnswersTest : public ::testing::Test {
 protected:
  // A call that says when it is ended, and outlives its ending.
  struct NamedCall final : UnreadAnswers::Call {
    NamedCall(std::string name, std::vector<std::string>& ended)
        : name(std::move(name)), ended(ended) {}
    std::function<void()> Ender() override {
      return [this] { ended.push_back(name); };
    }
    const std::string name;
    std::vector<std::string>& ended;
  };

  std::vector<std::string> ended_;
  NamedCall a_{"a", ended_}, b_{"b", ended_}, c_{"c", ended_};
  UnreadAnswers unread_{100};
};

TEST_F(UnreadAnswersTest, EndsTheCallThatHasReadNothingForLongest) {
  unread_.Add(a_, 40);
  unread_.Add(b_, 40);
  unread_.Add(c_, 20);
  EXPECT_THAT(ended_, IsEmpty());
  unread_.Remove(a_, 10);  // its client reads
  unread_.Add(a_, 20);
  EXPECT_THAT(ended_, ElementsAre("b"));
  EXPECT_EQ(unread_.bytes(), 70);
}

TEST_F(UnreadAnswersTest, EndsAsManyAsItTakesButNotWhoeverAsks) {
  unread_.Add(a_, 40);
  unread_.Add(b_, 40);
  unread_.Add(c_, 1000);
  EXPECT_THAT(ended_, ElementsAre("a", "b"));
  unread_.Add(c_, 1000);
  EXPECT_EQ(ended_.size(), 2u) << "there is nobody else";
}

TEST_F(UnreadAnswersTest, CountsACallThatItEndedNoMoreHoweverItGoes) {
  unread_.Add(a_, 60);
  unread_.Add(b_, 60);
  ASSERT_THAT(ended_, ElementsAre("a"));
  unread_.Add(a_, 10);
  unread_.Remove(a_, 60);
  EXPECT_EQ(unread_.bytes(), 60);
  unread_.Forget(a_);
  EXPECT_EQ(unread_.bytes(), 60);
  unread_.Forget(b_);
  EXPECT_EQ(unread_.bytes(), 0);
  // The same place in memory may be another call's later.
  unread_.Add(a_, 60);
  unread_.Add(b_, 60);
  EXPECT_THAT(ended_, ElementsAre("a", "a"));
}

TEST_F(UnreadAnswersTest, ForgetsWhoHasReadAll) {
  unread_.Add(a_, 60);
  unread_.Remove(a_, 60);
  unread_.Add(b_, 60);
  unread_.Add(c_, 60);
  EXPECT_THAT(ended_, ElementsAre("b"));
}

}  // namespace
}  // namespace convd
