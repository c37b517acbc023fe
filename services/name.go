package services

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
)

var nameEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// InstanceName returns the safe name of an instance: 26 characters of
// [a-z2-7], 128 bits of SHA-256 of the ID.
func InstanceName(instanceID string) string { return safeName("instance", instanceID) }

// BindingName returns the safe name of a binding: 26 characters of [a-z2-7],
// 128 bits of SHA-256 of both IDs.
func BindingName(instanceID, bindingID string) string {
	return safeName("binding", instanceID, bindingID)
}

func safeName(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p))) // lengths first: ("ab","c") is not ("a","bc")
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return nameEncoding.EncodeToString(h.Sum(nil)[:16])
}
