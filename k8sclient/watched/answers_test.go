package watched

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// large is a cache with networks of which an answer takes some: kept ones of 60 kB, known
// ones that are not kept, of 1 MB, and one small one.
func large(t *testing.T) (*Cache, *live) {
	t.Helper()
	c, l, _ := newTestCache()
	objects := []any{nad("small", "S")}
	for i := range 50 {
		objects = append(objects, nad(fmt.Sprint("kept", i), strings.Repeat("k", 60<<10)), nad(fmt.Sprint("mega", i), strings.Repeat("m", 1<<20)))
	}
	check.Must(t, c.networks.Replace(objects, "1"))
	return c, l
}

func refs(name string, count int) []types.Ref {
	list := make([]types.Ref, count)
	for i := range list {
		list[i] = ref(fmt.Sprint(name, i))
	}
	return list
}

// What an answer would take is known before anything is unpacked or read: an answer that is
// too long is left to plexus-once.
func TestAnswerTooLong(t *testing.T) {
	for name, count := range map[string]int{"kept": 40, "mega": 3} {
		c, l := large(t)
		networks, err := c.ReadNetworks(t.Context(), refs(name, count))
		if networks != nil || types.CodeOf(err, 0) != types.CodeTryAgainLater || len(l.asked) > 0 {
			t.Errorf("%s: got %d networks, %v, asked %v", name, len(networks), err, l.asked)
		}
		check.Error(t, err, "the networks that the pod names take", fmt.Sprint(maxAnswer))
	}
}

// A network that is too large to be kept is read live.
func TestLargeNetworkIsReadLive(t *testing.T) {
	c, l := large(t)
	networks, err := c.ReadNetworks(t.Context(), []types.Ref{ref("mega0"), ref("small")})
	check.Must(t, err)
	if networks[0].Config != "live-mega0" || networks[1].Config != "S" || len(l.asked) != 1 {
		t.Errorf("got %+v, asked %v", networks, l.asked)
	}
}

// A network that turns out to be long counts as what it is.
func TestAnswerTurnsOutTooLong(t *testing.T) {
	c, l := large(t)
	l.config = strings.Repeat("x", 900_000)
	refused, done := context.WithCancel(t.Context())
	_, err := c.ReadNetworks(refused, refs("unheard", 3))
	done()
	if types.CodeOf(err, 0) != types.CodeTryAgainLater || len(l.asked) != 3 {
		t.Errorf("got %v, asked %v", err, l.asked)
	}
	check.Error(t, err, "the networks that the pod names take")
	check.Must(t, c.answers.large.Acquire(t.Context(), maxAnswer)) // the refused one takes nothing any more
	c.answers.large.Release(maxAnswer)
	held, give := context.WithCancel(t.Context())
	defer give()
	if _, err := c.readNetworks(t.Context(), held, refs("unheard", 2)); err != nil {
		t.Errorf("two of them: %v", err)
	}
	// There is room for one long answer at a time; nobody who holds some waits for more.
	if _, err := c.ReadNetworks(t.Context(), refs("unheard", 2)); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("two more of them: %v", err)
	}
}

// Large answers wait for each other until they are given, and small ones do not wait for them.
func TestAnswersWaitForEachOther(t *testing.T) {
	c, _ := large(t)
	given, give := context.WithCancel(t.Context())
	defer give()
	_, err := c.readNetworks(t.Context(), given, refs("kept", 30))
	check.Must(t, err)
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.ReadNetworks(soon, refs("kept", 30)); types.CodeOf(err, 0) != types.CodeTryAgainLater || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another large one: %v", err)
	}
	rest := int64(maxAnswer - 30*jsonLength(strings.Repeat("k", 60<<10)))
	check.Must(t, c.answers.large.Acquire(t.Context(), rest))
	defer c.answers.large.Release(rest)
	for range 100 {
		soon, cancel := context.WithTimeout(t.Context(), patience)
		networks, err := c.ReadNetworks(soon, []types.Ref{ref("small")})
		cancel()
		if err != nil || networks[0].Config != "S" {
			t.Fatalf("a small one: %v, %v", networks, err)
		}
	}
	give()
	if _, err := c.ReadNetworks(t.Context(), refs("kept", 30)); err != nil {
		t.Errorf("another large one, once the first is given: %v", err)
	}
}

// An answer takes its room until the question ends, not only until it is made.
func TestAnswerHoldsItsRoom(t *testing.T) {
	c, _ := large(t)
	given, give := context.WithCancel(t.Context())
	_, err := c.Facts(given, &types.FactsRequest{Networks: refs("kept", 30)})
	check.Must(t, err)
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if c.answers.large.Acquire(soon, maxAnswer) == nil {
		t.Fatal("the answer is not given, and takes no room")
	}
	give()
	check.Must(t, c.answers.large.Acquire(t.Context(), maxAnswer))
}

// Only so many objects are read live at a time, so that their bodies do not pile up.
func TestLiveReadsAreBounded(t *testing.T) {
	c, l := large(t)
	check.Must(t, c.pods.Replace(nil, "1"))
	check.Must(t, c.answers.liveNetworks.Acquire(t.Context(), maxLiveNetworks))
	check.Must(t, c.answers.livePods.Acquire(t.Context(), maxLivePods))
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.ReadNetworks(soon, []types.Ref{ref("new")}); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("a network: %v", err)
	}
	if _, err := c.ReadPod(soon, &types.Pod{Namespace: "d", Name: "new", UID: "u"}); types.CodeOf(err, 0) != types.CodeTryAgainLater {
		t.Errorf("a pod: %v", err)
	}
	if len(l.asked) > 0 {
		t.Errorf("it asked %v", l.asked)
	}
	c.answers.liveNetworks.Release(1)
	c.answers.livePods.Release(1)
	for range 3 { // each gives its turn back
		if _, err := c.ReadNetworks(t.Context(), []types.Ref{ref("new")}); err != nil {
			t.Error(err)
		}
		if _, err := c.ReadPod(t.Context(), &types.Pod{Namespace: "d", Name: "new", UID: "u"}); err != nil {
			t.Error(err)
		}
	}
}
