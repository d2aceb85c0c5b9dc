package simnet

import (
	"sync"
	"time"
)

// A deadline is a channel that is closed when a time has come.
type deadline struct {
	mu     sync.Mutex
	over   chan struct{}
	timer  *time.Timer // closes over; nil: none is set
	isOver bool
}

// passed is closed when the deadline passes, also one that is set later.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func (d *deadline) channel() chan struct{} {
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

// set sets the deadline anew; zero: none. Whoever waits on passed goes on
// waiting, but when it has passed already.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.isOver {
		d.over, d.isOver = nil, false
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.pass()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // it was not set anew meanwhile
			d.pass()
		}
	})
	d.timer = timer
}

func (d *deadline) pass() {
	close(d.channel())
	d.isOver = true
}
