package soak

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var (
	howLong = flag.Duration("for", 8*time.Second, "how long to run")
	seed    = flag.Uint64("seed", 0, "decides what happens when (0: by chance)")
	callers = flag.Int("callers", 8, "how many callers ask at a time")
)

func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("again with: packaging/soak.sh %v %d", *howLong, *seed)
	s := newStage(t)
	r := newRecorder(s.ledger)

	ctx, cancel := context.WithTimeout(t.Context(), *howLong)
	defer cancel()
	var work sync.WaitGroup
	for n := range *callers {
		random := rand.New(rand.NewPCG(*seed, uint64(n)+1))
		work.Go(func() { s.call(ctx, random) })
	}
	work.Go(func() { s.annoy(ctx, rand.New(rand.NewPCG(*seed, 1<<32))) })
	work.Go(func() { s.look(ctx, r) })
	c := &chaos{stage: s, random: rand.New(rand.NewPCG(*seed, 0))}
	c.run(ctx)
	c.heal()
	work.Wait()

	s.recovers()
	s.searchSecrets()
	t.Log(r.report(*howLong, c.done))
	for _, fault := range s.ledger.faults() {
		t.Error(fault)
	}
}
