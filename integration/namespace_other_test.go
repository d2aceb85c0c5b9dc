//go:build !linux

package integration

import "testing"

// inNamespace skips the test: only Linux has network namespaces.
func inNamespace(t *testing.T) bool {
	t.Helper()
	t.Skipf("SKIPPED: %s; missing: network namespaces, which Linux has", t.Name())
	return false
}
