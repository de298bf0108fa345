package estest

import (
	"math/bits"
	"unicode/utf16"
)

// murmur3 is the x86 32 bit variant with seed 0 over UTF-16LE, what Elasticsearch hashes a routing value (or an id) with.
func murmur3(s string) int32 {
	u := utf16.Encode([]rune(s))
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	var h uint32
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*c1, 15) * c2 }
	i := 0
	for ; i+1 < len(u); i += 2 {
		h = bits.RotateLeft32(h^mix(uint32(u[i])|uint32(u[i+1])<<16), 13)*5 + 0xe6546b64
	}
	if i < len(u) {
		h ^= mix(uint32(u[i]))
	}
	h ^= uint32(len(u) * 2)
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return int32(h ^ h>>16)
}

// defaultRoutingShards is the largest doubling of n up to 1024, so that an index can be split.
func defaultRoutingShards(n int) int {
	// As Elasticsearch computes it: at least one split is always possible.
	log2 := bits.Len(uint(max(n-1, 0))) // ceil(log2(n))
	return n << max(1, 10-log2)
}

// shardOf is the shard that a routing value (or, without one, an id) belongs to. Indices of the newest servers have no routing
// shards (0): there the hash alone decides.
func shardOf(routing string, shards, routingShards int) int {
	if routingShards == 0 {
		return int((int64(murmur3(routing))%int64(shards) + int64(shards)) % int64(shards))
	}
	m := int64(murmur3(routing)) % int64(routingShards)
	if m < 0 {
		m += int64(routingShards)
	}
	return int(m) / (routingShards / shards)
}
