package main

import (
	"os"
	"runtime"
)

// fewProcessors is up to how many processors Go gets only one of.
const fewProcessors = 2

// chooseProcessors has Go run on one processor where there are two, unless GOMAXPROCS
// says otherwise. A packet goes from goroutine to goroutine, and with a second
// processor each of these steps wakes a thread, which costs more than the work that it
// takes over: on two, a forward used 2.2 s of CPU time for a GB instead of 3.9, and was
// half as fast again, with one connection and with eight. The system's own share of the
// work goes on beside it.
func chooseProcessors() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= fewProcessors {
		runtime.GOMAXPROCS(1)
	}
}
