/** A kind that is only ever created, and answered at once without being stored. */
export interface Review {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const AUTHENTICATION = { group: "authentication.k8s.io", version: "v1", namespaced: false };
const AUTHORIZATION = { group: "authorization.k8s.io", version: "v1", namespaced: false };

export const REVIEWS: readonly Review[] = [
  { ...AUTHENTICATION, resource: "tokenreviews", kind: "TokenReview" },
  { ...AUTHENTICATION, resource: "selfsubjectreviews", kind: "SelfSubjectReview" },
  { ...AUTHORIZATION, resource: "subjectaccessreviews", kind: "SubjectAccessReview" },
  { ...AUTHORIZATION, resource: "selfsubjectaccessreviews", kind: "SelfSubjectAccessReview" },
  { ...AUTHORIZATION, resource: "selfsubjectrulesreviews", kind: "SelfSubjectRulesReview" },
  { ...AUTHORIZATION, resource: "localsubjectaccessreviews", kind: "LocalSubjectAccessReview", namespaced: true },
];
