local _, _, last = begin()
return last
