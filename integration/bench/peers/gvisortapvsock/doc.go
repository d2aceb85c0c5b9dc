// Package gvisortapvsock names the version of gvisor-tap-vsock whose programs, gvproxy and gvforwarder, are a yardstick. It
// is a module of its own since they need another gVisor than we do.
package gvisortapvsock
