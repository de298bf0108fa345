package chunker

const (
	lanes    = 4
	laneSize = 4 << 10 // bytes that each lane looks at before all are compared
)

// scan slides a window, whose fingerprint is digest and whose bytes are p[:64], over p[64:]. It returns how many bytes of
// p a chunk that ends there has, or -1 and the fingerprint at the end of p.
//
// Adding a byte and taking away the one that leaves are both linear, so both are xored at once, off the chain of
// dependent instructions that limits the speed.
func (t *tables) scan(digest uint64, p []byte) (int, uint64) {
	in := p[windowSize:]
	out := p[:len(in)]
	for i, b := range in {
		digest = (digest<<8 ^ uint64(b) ^ t.out[out[i]]) ^ t.mod[byte(digest>>shift)]
		if digest&splitMask == 0 {
			return windowSize + i + 1, digest
		}
	}
	return -1, digest
}

// scanLanes does what scan does. The fingerprint depends on the last 64 bytes alone, so four places of p can be looked
// at in turn: the processor then works on four chains at once. A cut is rare (once in a MiB), so that the block in
// which one shows is simply scanned again from its beginning, to find the first.
func (t *tables) scanLanes(digest uint64, p []byte) (int, uint64) {
	at := 0
	for len(p)-at >= windowSize+lanes*laneSize {
		block := p[at : at+windowSize+lanes*laneSize]
		hit, last := t.lanes(digest, block)
		if hit {
			i, d := t.scan(digest, block)
			return at + i, d
		}
		digest = last
		at += lanes * laneSize
	}
	i, digest := t.scan(digest, p[at:])
	if i >= 0 {
		i += at
	}
	return i, digest
}

// lanes reports whether a chunk ends in the block after its first 64 bytes, whose fingerprint is digest, and
// otherwise gives the fingerprint at the end.
func (t *tables) lanes(digest uint64, block []byte) (bool, uint64) {
	d0 := digest
	d1, d2, d3 := t.fingerprint(block[1*laneSize:]), t.fingerprint(block[2*laneSize:]), t.fingerprint(block[3*laneSize:])
	// One array with constant distances spares bounds checks and leaves enough registers; two bytes a turn hide the loop.
	b := (*[windowSize + lanes*laneSize]byte)(block)
	for i := 0; i < laneSize; i += 2 {
		d0 = (d0<<8 ^ uint64(b[i+windowSize]) ^ t.out[b[i]]) ^ t.mod[byte(d0>>shift)]
		d1 = (d1<<8 ^ uint64(b[i+1*laneSize+windowSize]) ^ t.out[b[i+1*laneSize]]) ^ t.mod[byte(d1>>shift)]
		d2 = (d2<<8 ^ uint64(b[i+2*laneSize+windowSize]) ^ t.out[b[i+2*laneSize]]) ^ t.mod[byte(d2>>shift)]
		d3 = (d3<<8 ^ uint64(b[i+3*laneSize+windowSize]) ^ t.out[b[i+3*laneSize]]) ^ t.mod[byte(d3>>shift)]
		if d0&splitMask == 0 || d1&splitMask == 0 || d2&splitMask == 0 || d3&splitMask == 0 {
			return true, 0
		}
		d0 = (d0<<8 ^ uint64(b[i+1+windowSize]) ^ t.out[b[i+1]]) ^ t.mod[byte(d0>>shift)]
		d1 = (d1<<8 ^ uint64(b[i+1*laneSize+1+windowSize]) ^ t.out[b[i+1*laneSize+1]]) ^ t.mod[byte(d1>>shift)]
		d2 = (d2<<8 ^ uint64(b[i+2*laneSize+1+windowSize]) ^ t.out[b[i+2*laneSize+1]]) ^ t.mod[byte(d2>>shift)]
		d3 = (d3<<8 ^ uint64(b[i+3*laneSize+1+windowSize]) ^ t.out[b[i+3*laneSize+1]]) ^ t.mod[byte(d3>>shift)]
		if d0&splitMask == 0 || d1&splitMask == 0 || d2&splitMask == 0 || d3&splitMask == 0 {
			return true, 0
		}
	}
	return false, d3
}

// fingerprint is that of the first 64 bytes of p.
func (t *tables) fingerprint(p []byte) uint64 {
	var d uint64
	for _, b := range p[:windowSize] {
		d = t.add(d, b)
	}
	return d
}
