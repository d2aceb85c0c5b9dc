package ppp

import "testing"

// A forged packet far ahead cost all the keys that may be passed over, and after
// the next small loss nothing was decrypted any more.
func TestAForgedPacketAndALossDoNotEndMPPE(t *testing.T) {
	master := [16]byte{1, 2, 3}
	sealer := newEncryption(&master, true, bits128, bits128).Sealer
	opener := newEncryption(&master, false, bits128, bits128).Opener
	datagram := append([]byte{0x45}, make([]byte, 39)...)
	pass := func() error {
		_, _, err := opener.Open(sealer.Seal(nil, ProtocolIPv4, datagram))
		return err
	}
	for range 300 {
		if err := pass(); err != nil {
			t.Fatal(err)
		}
	}
	count := mppeFlushed | mppeEncrypted | (opener.last+maxGap-1)&mppeCount
	if _, _, err := opener.Open([]byte{byte(count >> 8), byte(count), 1, 2, 3, 4}); err == nil {
		t.Fatal("garbage was decrypted")
	}
	for range 20 {
		sealer.Seal(nil, ProtocolIPv4, datagram) // lost
	}
	opened := 0
	for range 100 {
		if pass() == nil {
			opened++
		}
	}
	if opened < 95 {
		t.Errorf("%d of 100 packets were decrypted", opened)
	}
}
