package decode

import (
	"strings"
	"testing"
)

// RFC 1661 §4.1, the rows of what an observer can see, from state 2 on.
const rfcTable = `
      |    2         3         4         5         6         7         8           9
Events|  Closed    Stopped   Closing   Stopping Req-Sent  Ack-Rcvd  Ack-Sent    Opened
------+------------------------------------------------------------------------------------
 Close|    2         2         4         4      irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4
  TO+ |    -         -       str/4     str/5      scr/6     scr/6     scr/8         -
 RCR+ |  sta/2 irc,scr,sca/8   4         5        sca/8   sca,tlu/9   sca/8   tld,scr,sca/8
 RCR- |  sta/2 irc,scr,scn/6   4         5        scn/6     scn/7     scn/6   tld,scr,scn/6
 RCA  |  sta/2     sta/3       4         5        irc/7     scr/6   irc,tlu/9   tld,scr/6
 RCN  |  sta/2     sta/3       4         5      irc,scr/6   scr/6   irc,scr/8   tld,scr/6
 RTR  |  sta/2     sta/3     sta/4     sta/5      sta/6     sta/6     sta/6   tld,zrc,sta/5
 RTA  |    2         3       tlf/2     tlf/3        6         6         8       tld,scr/6
`

// What is seen is an event, or the action of one.
func TestSightsAreTheRFCsTable(t *testing.T) {
	states := map[string]layerState{"2": closed, "3": stopped, "4": closing, "5": stopping, "6": reqSent, "7": ackRcvd, "8": ackSent, "9": opened}
	events := map[string]sight{"Close": sendsTermReq, "TO+": sendsReq, "RCR+": sendsAck, "RCR-": sendsNak,
		"RCA": getsAck, "RCN": getsNak, "RTR": getsTermReq, "RTA": getsTermAck}
	action := map[sight]string{sendsTermReq: "str", sendsReq: "scr", sendsAck: "sca", sendsNak: "scn"}
	type cell struct {
		s    sight
		from layerState
	}
	// Where the RFC has another cell, or none for what was sent all the same.
	departures := map[cell]layerState{
		// It was not closed: it has been opened, unseen.
		{sendsReq, closed}: reqSent, {sendsAck, closed}: ackSent, {sendsNak, closed}: reqSent,
		{sendsTermReq, closed}: closing, {sendsTermReq, stopped}: closing,
		// The restart option, or an Open behind the end.
		{sendsReq, stopped}: reqSent, {sendsReq, closing}: reqSent, {sendsReq, stopping}: reqSent,
		// It is TO+ that has str there.
		{sendsTermReq, closing}: closing, {sendsTermReq, stopping}: stopping,
		// tld,scr,… of RCA, RCN, RTA; of RCR+, before its sca.
		{sendsReq, opened}: reqSent,
	}
	seen := 0
	for line := range strings.Lines(rfcTable) {
		event, row, ok := strings.Cut(line, "|")
		s, known := events[strings.TrimSpace(event)]
		if !ok || !known {
			continue
		}
		cells := strings.Fields(row)
		if len(cells) != len(states) {
			t.Fatalf("%s has %d cells", event, len(cells))
		}
		for from, c := range cells {
			seen++
			actions, next, ok := strings.Cut(c, "/")
			if !ok {
				actions, next = "", c
			}
			want, departs := departures[cell{s, layerState(from)}]
			if !departs {
				want = states[next]
				if does := action[s]; does != "" && !strings.Contains(actions, does) && s != sendsAck && s != sendsNak {
					t.Errorf("%s in %v does not %s, and is no departure", event, layerState(from), does)
				}
			}
			if got := sights[s][from]; got != want {
				t.Errorf("%s in %v leads to %v, want %v", event, layerState(from), got, want)
			}
		}
	}
	if seen != 8*8 {
		t.Errorf("%d cells", seen)
	}
	// A repeated request is a request, but in opened.
	for from, got := range sights[repeatsReq] {
		want := sights[sendsReq][from]
		if layerState(from) == opened {
			want = ackSent
		}
		if got != want {
			t.Errorf("a repeated Conf-Req in %v leads to %v, want %v", layerState(from), got, want)
		}
	}
}
