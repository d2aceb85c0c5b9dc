package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/log"
)

// gVisor writes to the standard error what it thinks noteworthy, and packets
// that a peer sends can make it do so: a library must not. A program that wants
// gVisor's log sets its target in main, which comes after this.
func init() { log.SetTarget(noLog{}) }

type noLog struct{}

func (noLog) Emit(int, log.Level, time.Time, string, ...any) {}
