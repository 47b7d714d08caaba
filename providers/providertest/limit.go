package providertest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Limit makes an issuer think before each answer, and refuse with 429 what
// goes beyond so many token requests a second; zero for any number.
type Limit struct {
	Thinks    time.Duration
	PerSecond float64
	// RetryAfter is what the refusal asks for, in whole seconds.
	RetryAfter time.Duration

	mu      sync.Mutex
	bucket  float64 // holds what a second brings
	filled  time.Time
	refused int
	waiting int // requests that are being answered
	most    int // of them at a time
}

// SetLimit sets the limit, nil for none.
func (i *issuer) SetLimit(l *Limit) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.limit = l
}

// Refused counts the requests that went beyond.
func (l *Limit) Refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Together is how many requests were being answered at a time, at most.
func (l *Limit) Together() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}

// count counts the requests that are being answered.
func (l *Limit) count(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting += more
	l.most = max(l.most, l.waiting)
}

// takes reports whether one more request is within the limit.
func (l *Limit) takes(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.PerSecond == 0 {
		return true
	}
	l.bucket = min(l.PerSecond, l.bucket+l.PerSecond*now.Sub(l.filled).Seconds())
	l.filled = now
	if l.bucket < 1 {
		l.refused++
		return false
	}
	l.bucket--
	return true
}

// hold makes r wait, and reports whether it may go on; if not, it has the answer.
func (l *Limit) hold(w http.ResponseWriter, r *http.Request) bool {
	if l == nil {
		return true
	}
	l.count(1)
	defer l.count(-1)
	within := l.takes(time.Now())
	select {
	case <-time.After(l.Thinks):
	case <-r.Context().Done():
	}
	if !within {
		Status(http.StatusTooManyRequests, strconv.Itoa(int(l.RetryAfter/time.Second)))(w, r)
	}
	return within
}
