package wire

import "testing"

func TestSmoke(t *testing.T) {
	m := &Message{Type: SCCRQ, ProtocolVersion: ProtocolVersion, HostName: "lac", FramingCapabilities: 3, AssignedTunnelID: 7}
	b := m.Append(AppendControlHeader(nil, 0, 0, 0, 0))
	SetLength(b)
	h, p, err := ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseMessage(p, nil)
	t.Logf("%+v %+v %v", h, g, err)
}
