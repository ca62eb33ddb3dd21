"""Dense CRF: parameters, published settings and the refinement of class scores."""
