package ppp

import (
	"fmt"
	"strings"
	"testing"
)

// The two blocks of the State Transition Table, as RFC 1661 §4.1 prints them.
const rfc1661 = `
      | State
      |    0         1         2         3         4         5
Events| Initial   Starting  Closed    Stopped   Closing   Stopping
------+-----------------------------------------------------------
 Up   |    2     irc,scr/6     -         -         -         -
 Down |    -         -         0       tls/1       0         1
 Open |  tls/1       1     irc,scr/6     3r        5r        5r
 Close|    0       tlf/0       2         2         4         4
      |
  TO+ |    -         -         -         -       str/4     str/5
  TO- |    -         -         -         -       tlf/2     tlf/3
      |
 RCR+ |    -         -       sta/2 irc,scr,sca/8   4         5
 RCR- |    -         -       sta/2 irc,scr,scn/6   4         5
 RCA  |    -         -       sta/2     sta/3       4         5
 RCN  |    -         -       sta/2     sta/3       4         5
      |
 RTR  |    -         -       sta/2     sta/3     sta/4     sta/5
 RTA  |    -         -         2         3       tlf/2     tlf/3
      |
 RUC  |    -         -       scj/2     scj/3     scj/4     scj/5
 RXJ+ |    -         -         2         3         4         5
 RXJ- |    -         -       tlf/2     tlf/3     tlf/2     tlf/3
      |
 RXR  |    -         -         2         3         4         5

      | State
      |    6         7         8           9
Events| Req-Sent  Ack-Rcvd  Ack-Sent    Opened
------+-----------------------------------------
 Up   |    -         -         -           -
 Down |    1         1         1         tld/1
 Open |    6         7         8           9r
 Close|irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4
      |
  TO+ |  scr/6     scr/6     scr/8         -
  TO- |  tlf/3p    tlf/3p    tlf/3p        -
      |
 RCR+ |  sca/8   sca,tlu/9   sca/8   tld,scr,sca/8
 RCR- |  scn/6     scn/7     scn/6   tld,scr,scn/6
 RCA  |  irc/7     scr/6x  irc,tlu/9   tld,scr/6x
 RCN  |irc,scr/6   scr/6x  irc,scr/8   tld,scr/6x
      |
 RTR  |  sta/6     sta/6     sta/6   tld,zrc,sta/5
 RTA  |    6         6         8       tld,scr/6
      |
 RUC  |  scj/6     scj/7     scj/8       scj/9
 RXJ+ |    6         6         8           9
 RXJ- |  tlf/3     tlf/3     tlf/3   tld,irc,str/5
      |
 RXR  |    6         7         8         ser/9
`

// Every cell of our table is the RFC's.
func TestTransitionTable(t *testing.T) {
	actions := map[string]transition{"tlu": tlu, "tld": tld, "tls": tls, "tlf": tlf, "irc": irc, "zrc": zrc,
		"scr": scr, "sca": sca, "scn": scn, "str": str, "sta": sta, "scj": scj, "ser": ser}
	var columns []state
	cells := 0
	for line := range strings.Lines(rfc1661) {
		name, row, ok := strings.Cut(line, "|")
		name = strings.TrimSpace(name)
		fields := strings.Fields(row)
		if !ok || len(fields) == 0 {
			continue
		}
		if name == "Events" {
			columns = nil
			for _, field := range fields {
				columns = append(columns, stateNamed(t, field))
			}
			continue
		}
		event, ok := triggerNamed(name)
		if !ok {
			continue // the lines above the names of the states
		}
		if len(fields) != len(columns) {
			t.Fatalf("%d cells below %d states: %s", len(fields), len(columns), line)
		}
		for i, cell := range fields {
			want := no
			if cell != "-" {
				do, to, both := strings.Cut(strings.TrimRight(cell, "prx"), "/")
				if !both {
					do, to = "", do
				}
				var number uint8
				if _, err := fmt.Sscan(to, &number); err != nil {
					t.Fatalf("cell %q: %v", cell, err)
				}
				want = transition(number)
				for _, name := range strings.FieldsFunc(do, func(r rune) bool { return r == ',' }) {
					action, ok := actions[name]
					if !ok {
						t.Fatalf("cell %q has the action %q", cell, name)
					}
					want |= action
				}
			}
			if got := next(event, columns[i]); got != want {
				t.Errorf("event %v in state %v: %#x, the RFC has %s, %#x", event, columns[i], got, cell, want)
			}
			cells++
		}
	}
	if cells != 16*10 {
		t.Errorf("%d cells compared of 160", cells)
	}
}

// "The states in which the Restart timer is running are identifiable by the
// presence of TO events."
func TestTimedStates(t *testing.T) {
	for s := initial; s <= opened; s++ {
		if has := next(evTOgood, s) != no; s.timed() != has {
			t.Errorf("state %v: timed %v, it has TO events: %v", s, s.timed(), has)
		}
	}
}

func stateNamed(t *testing.T, name string) state {
	for s := initial; s <= opened; s++ {
		if s.String() == name {
			return s
		}
	}
	t.Fatalf("no state %q", name)
	return 0
}

func triggerNamed(name string) (trigger, bool) {
	for e := evUp; e <= evRXR; e++ {
		if e.String() == name {
			return e, true
		}
	}
	return 0, false
}
