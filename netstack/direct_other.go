//go:build !linux || portable

package netstack

import "syscall"

const canMove = false

func read(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }

func readable(uintptr) (int, syscall.Errno) { return 0, syscall.ENOSYS }

type vectors struct{}

func (*vectors) add([]byte) bool                    { return true }
func (*vectors) write(uintptr) (int, syscall.Errno) { return 0, syscall.ENOSYS }
func (*vectors) reset()                             {}
